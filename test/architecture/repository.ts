import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

const textFile =
  /\.(?:[cm]?[jt]s|json|jsonl|jsonc|md|ya?ml|html|css|sh|txt|toml)$|(?:^|\/)(?:\.ci\/run|LICENSE|\.[\w-]+)$/;
const sourceFile = /\.(?:[cm]?js|m?ts)$/;
const sizeBytesMax = 2 * 1024 * 1024;

/** Every text file that is, or is about to be, in the repository: by path from the root, with `/`. */
export function readRepository(): Map<string, string> {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const texts = new Map<string, string>();
  for (const path of new Set(listed.split('\0'))) {
    const file = join(root, path);
    if (!textFile.test(path) || !existsSync(file) || statSync(file).size > sizeBytesMax) continue;
    texts.set(path, readFileSync(file, 'utf8'));
  }
  return texts;
}

/** The modules among them; declarations for plain JavaScript have no rules to obey. */
export function modulesOf(texts: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...texts].filter(([path]) => sourceFile.test(path) && !/\.d\.[cm]?ts$/.test(path)));
}
