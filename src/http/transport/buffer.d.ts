// Bun and Node have these, and the published types don't. They cost half of what write() and toString() do.
interface Buffer {
  latin1Write(text: string, offset: number): number;
  utf8Write(text: string, offset: number): number;
  latin1Slice(start: number, end: number): string;
  hexSlice(start: number, end: number): string;
  base64Slice(start: number, end: number): string;
}
