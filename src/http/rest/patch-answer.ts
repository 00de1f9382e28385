import type { EntryInfo, EntrySink } from "../../engine/engine.ts";
import { holdsJson } from "../../model/entry.ts";
import type { Key } from "../../model/key.ts";
import type { HttpRequest, HttpResponse } from "../transport/exchange.ts";
import { type AnswerParts, EntryAnswer, WHOLE_ENTRY } from "./entry-answer.ts";
import { sendSuccess } from "./outcomes.ts";

/** The answer to a touch: the document if the value is JSON, otherwise only a success. */
export class PatchAnswer implements EntrySink {
  private readonly document: EntryAnswer;
  private isDocument = false;

  constructor(
    request: HttpRequest,
    private readonly response: HttpResponse,
    key: Key,
    parts: AnswerParts,
  ) {
    this.document = new EntryAnswer(parts);
    this.document.prepare(request, response, key, WHOLE_ENTRY);
  }

  get target(): Buffer {
    return this.document.target;
  }

  get offset(): number {
    return this.document.offset;
  }

  begin(entry: EntryInfo): boolean {
    this.isDocument = holdsJson(entry.attributes);
    return this.isDocument && this.document.begin(entry);
  }

  /** To be called after the engine has found the entry. */
  end(): void {
    if (this.isDocument) void this.document.end();
    else sendSuccess(this.response);
  }
}
