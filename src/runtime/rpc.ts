/**
 * Typed calls from one thread to another. A table lists the names of the methods that another thread may call;
 * arguments and results are typed by the object that implements them, and cross as structured clones of plain data and
 * bytes.
 */
export interface CallRequest {
  readonly id: number;
  readonly name: string;
  readonly args: readonly unknown[];
}

/** `failure` is an error as encoded by `failureOf` on the answering side. */
export type CallAnswer<F> = { readonly id: number } & ({ readonly value: unknown } | { readonly failure: F });

/** The listed methods of `S` as another thread sees them. */
export type Remote<S, N extends keyof S> = {
  readonly [name in N]: S[name] extends (...args: infer A) => infer R ? (...args: A) => Promise<Awaited<R>> : never;
};

/** The calling side. `S` is the object in the other thread, `F` the encoded form of a failure. */
export class CallClient<S, F> {
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;

  constructor(
    private readonly send: (request: CallRequest) => void,
    private readonly errorOf: (failure: F) => Error,
  ) {}

  /** The methods of a table. Bytes among the arguments are copied before the method returns. */
  remote<N extends keyof S & string>(names: readonly N[]): Remote<S, N> {
    const methods = names.map((name) => [name, (...args: readonly unknown[]) => this.#call(name, args)]);
    return Object.fromEntries(methods) as Remote<S, N>;
  }

  receive(answers: readonly CallAnswer<F>[]): void {
    for (const answer of answers) {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ("failure" in answer) waiting?.reject(this.errorOf(answer.failure));
      else waiting?.resolve(mapBytes(answer.value, viewed));
    }
  }

  #call(name: string, args: readonly unknown[]): Promise<unknown> {
    const waiting = Promise.withResolvers<unknown>();
    const id = this.#nextId++;
    this.#waiting.set(id, waiting);
    this.send({ id, name, args: args.map((one) => mapBytes(one, copied)) });
    return waiting.promise;
  }
}

/** The answering side: executes a call of the table. Never rejects. */
export async function answerCall<S, N extends keyof S & string, F>(
  served: S,
  names: readonly N[],
  { id, name, args }: CallRequest,
  failureOf: (error: unknown) => F,
): Promise<CallAnswer<F>> {
  try {
    const known = names.find((one) => one === name);
    const method = known === undefined ? undefined : served[known];
    if (typeof method !== "function") throw new TypeError(`no thread may call ${name}: it is in no table`);
    const value: unknown = await method.apply(
      served,
      args.map((one) => mapBytes(one, viewed)),
    );
    return { id, value: mapBytes(value, copied) };
  } catch (error) {
    return { id, failure: failureOf(error) };
  }
}

/** The same plain data, with all bytes mapped. */
function mapBytes(value: unknown, map: (bytes: Uint8Array) => Buffer): unknown {
  if (value instanceof Uint8Array) return map(value);
  if (Array.isArray(value)) return value.map((one) => mapBytes(one, map));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, mapBytes(member, map)]));
}

/** A structured clone copies the whole buffer behind a view, so the bytes get a buffer of their own. */
export function copied(bytes: Uint8Array): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length);
  own.set(bytes);
  return own;
}

/** A Buffer arrives as a plain Uint8Array. */
export function viewed(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
