import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Piece, ProbeLine } from './loop-process.ts';

const PROGRAM = fileURLToPath(new URL('loop-process.js', import.meta.url));

/** Looks into every node that is started after it was made. */
export class Probe {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    process.env['LOOP_PROBE_DIR'] = directory;
    process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} --import ${PROGRAM}`.trim();
  }

  /** What the nodes reported at or after an instant of the monotonic clock. */
  since(atNs: number): readonly ProbeLine[] {
    return readdirSync(this.#directory).flatMap((file) => this.#linesOf(file).filter((line) => line.atNs >= atNs));
  }

  pieces(what: Piece['what'], pid: number): readonly Piece[] {
    return this.#linesOf(String(pid)).flatMap((line) => line.pieces.filter((piece) => piece.what === what));
  }

  #linesOf(file: string): readonly ProbeLine[] {
    // What stands behind the last line end is still being written.
    const lines = readFileSync(join(this.#directory, file), 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as ProbeLine);
  }
}
