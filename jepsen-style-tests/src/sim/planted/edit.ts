/** One place in a module, found by its text whatever the white space, and what stands there instead. */
export interface Edit {
  /** Path of the built module without its ending, from the package's name on: `raft/dist/core/election`. */
  readonly module: string;
  readonly find: string;
  readonly replace: string;
}

/** The text with every edit made. Throws where one does not fit exactly once: the code has moved on, and the bug must follow. */
export function applyEdits(source: string, edits: readonly Edit[]): string {
  let text = source;
  for (const { module, find, replace } of edits) {
    const pattern = new RegExp(
      find
        .trim()
        .split(/\s+/)
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('\\s+'),
      'g',
    );
    const found = text.match(pattern)?.length ?? 0;
    if (found !== 1) throw new Error(`the planted bug fits ${found} places of ${module}, not one: ${find}`);
    text = text.replace(pattern, () => replace);
  }
  return text;
}
