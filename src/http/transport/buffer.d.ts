// Methods of Buffer that Bun and Node have, but the published types lack. They cost half as much as write() and
// toString().
interface Buffer {
  latin1Write(text: string, offset: number): number;
  utf8Write(text: string, offset: number): number;
  latin1Slice(start: number, end: number): string;
  hexSlice(start: number, end: number): string;
  base64Slice(start: number, end: number): string;
}
