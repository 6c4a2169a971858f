import { createWriteStream, type WriteStream } from 'node:fs';
import type { HistoryLine } from './history-line.ts';

const FLUSH_BYTES = 64 * 1024;

/**
 * Writes a history as JSON lines. What is not yet handed to the file stays below `maxBufferedBytes`: `write` resolves
 * once there is room again, and a caller that awaits it can never outrun the disk.
 */
export class HistoryWriter {
  readonly path: string;
  #lines = 0;
  readonly #maxBufferedBytes: number;
  readonly #file: WriteStream;
  #pending: string[] = [];
  #pendingBytes = 0;
  #error: Error | undefined;

  constructor(path: string, options: { readonly maxBufferedBytes?: number } = {}) {
    this.path = path;
    this.#maxBufferedBytes = options.maxBufferedBytes ?? 4 * 1024 * 1024;
    this.#file = createWriteStream(path, { highWaterMark: FLUSH_BYTES });
    this.#file.on('error', (error) => {
      this.#error = error;
    });
  }

  get lines(): number {
    return this.#lines;
  }

  /** Rejects with the file's error once it has one: a history with holes must not be judged. */
  async write(line: HistoryLine): Promise<void> {
    if (this.#error !== undefined) throw this.#error;
    const text = `${JSON.stringify(line)}\n`;
    this.#lines++;
    this.#pending.push(text);
    this.#pendingBytes += text.length;
    if (this.#pendingBytes >= FLUSH_BYTES) this.#hand();
    while (this.#file.writableLength > this.#maxBufferedBytes) await this.#drained();
  }

  /** Resolves when everything is in the file and the file is closed. */
  async close(): Promise<void> {
    this.#hand();
    await new Promise<void>((resolve, reject) => {
      this.#file.end(() => (this.#error === undefined ? resolve() : reject(this.#error)));
      this.#file.once('error', reject);
    });
  }

  #hand(): void {
    if (this.#pending.length === 0) return;
    this.#file.write(this.#pending.join(''));
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  #drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      const onDrain = (): void => {
        this.#file.off('error', onError);
        resolve();
      };
      const onError = (error: Error): void => {
        this.#file.off('drain', onDrain);
        reject(error);
      };
      this.#file.once('drain', onDrain);
      this.#file.once('error', onError);
    });
  }
}
