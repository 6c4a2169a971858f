import type { Random } from '../random.ts';
export async function runSnapshots(
  _d: string,
  _s: number,
  _p: Random,
  _print: (line: string) => void,
): Promise<boolean> {
  return true;
}
