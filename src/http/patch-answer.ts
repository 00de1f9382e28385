import { type EntryInfo, type EntrySink, JSON_CONTENT_TYPE, type Key } from "../engine/engine.ts";
import { EntryAnswer, WHOLE_ENTRY } from "./entry-answer.ts";
import type { HttpResponse } from "./exchange.ts";

const JSON_HEADERS = "Content-Type: application/json\r\n";

/** The answer to a touch: the document where the value is JSON, else nothing but that it was done. */
export class PatchAnswer implements EntrySink {
  private readonly document: EntryAnswer;
  private isDocument = false;

  constructor(
    private readonly response: HttpResponse,
    key: Key,
    nowMs: () => number,
  ) {
    this.document = new EntryAnswer(nowMs);
    this.document.prepare(response, key, WHOLE_ENTRY);
  }

  get target(): Buffer {
    return this.document.target;
  }

  get offset(): number {
    return this.document.offset;
  }

  begin(entry: EntryInfo): boolean {
    this.isDocument = entry.contentType === JSON_CONTENT_TYPE;
    return this.isDocument && this.document.begin(entry);
  }

  /** To be called after the engine has found the entry. */
  end(): void {
    if (this.isDocument) this.document.end();
    else this.response.sendText(200, JSON_HEADERS, '{"status":"success"}');
  }
}
