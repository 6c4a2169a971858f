import type { Readable } from 'node:stream';

/** Calls `onValue` for each line of `stream` that is JSON, `onText` for the others. The rest after the last line end is dropped. */
export function readJsonLines(
  stream: Readable,
  onValue: (value: unknown) => void,
  onText: (text: string) => void = () => {},
): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    rest += chunk;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      if (line.trim() === '') continue;
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        onText(line);
        continue;
      }
      onValue(value);
    }
  });
}
