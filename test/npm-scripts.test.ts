import { dirname, join } from 'node:path/posix';
import { describe, expect, test } from 'vitest';
import { readRepository } from './architecture/repository.ts';

type Texts = ReadonlyMap<string, string>;

/** Names of the scripts of every package.json, and what each runs, with the folder it runs in. */
function scriptsIn(texts: Texts): { readonly name: string; readonly command: string; readonly folder: string }[] {
  return [...texts].flatMap(([path, text]) => {
    if (!/(?:^|\/)package\.json$/.test(path)) return [];
    const { scripts = {} } = JSON.parse(text) as { readonly scripts?: Readonly<Record<string, string>> };
    return Object.entries(scripts).map(([name, command]) => ({ name, command, folder: dirname(path) }));
  });
}

/** Files that a script names and nobody wrote; what lies in `dist` counts as written where its source does. */
function missingFiles(texts: Texts): string[] {
  return scriptsIn(texts).flatMap(({ name, command, folder }) => {
    const files = command.split(' ').filter((word) => /\.[cm]?js$/.test(word));
    const missing = files.map((file) => join(folder, file)).filter((file) => !texts.has(sourceOf(file)));
    return missing.map((file) => `${name}: ${file}`);
  });
}

function sourceOf(file: string): string {
  return file.replace(/(^|\/)dist\/(.*)\.js$/, '$1src/$2.ts');
}

/** Places that tell a reader to run a script that no package.json has. */
function missingScripts(texts: Texts): string[] {
  const names = new Set(scriptsIn(texts).map(({ name }) => name));
  return [...texts].flatMap(([path, text]) =>
    [...text.matchAll(/\bnpm (?:run (?:-s )?|(?=test\b|start\b))(?<name>[a-z][\w:-]*)/g)]
      .filter(({ groups }) => !names.has(groups?.['name'] as string))
      .map(([command]) => `${path}: ${command}`),
  );
}

describe('scripts of package.json', () => {
  const repository = readRepository();

  test('name files that exist', () => {
    expect(missingFiles(repository)).toEqual([]);
  });

  test('are there where a page, a comment or a message says `npm run`', () => {
    expect(missingScripts(repository)).toEqual([]);
  });

  test('would be caught missing', () => {
    const texts = new Map([
      ['package.json', '{ "scripts": { "setup": "node scripts/setup.mjs", "sim": "node run.mjs a/dist/main.js" } }'],
      ['run.mjs', ''],
      ['a/src/main.ts', '// npm run sim, npm test'],
    ]);
    expect(missingFiles(texts)).toEqual(['setup: scripts/setup.mjs']);
    expect(missingScripts(texts)).toEqual(['a/src/main.ts: npm test']);
  });
});
