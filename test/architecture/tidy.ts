import { parseSourceFile } from './source-file.ts';

/** Something left behind: where, and what. */
export interface Leftover {
  readonly path: string;
  readonly line: number;
  readonly what: 'marker' | 'only' | 'machine path' | 'console';
}

const marker = /\b(?:TODO|FIXME|XXX)\b/;
const machinePath = /(?:^|[^\w./-])\/(?:work|root|home)\/\w/;
// Words of others, hashes in which anything may occur, and the two files that name what is searched for.
const exempt = /(?:^|\/)LICENSE$|^pnpm-lock\.yaml$|^test\/architecture(?:\/tidy|\.test)\.ts$/;
const only = /\b(?:test|it|describe|suite|bench)(?:\.\w+)*\.only\b/;

/** The lines of one file that should not have been left in it. */
export function findLeftovers(path: string, text: string): Leftover[] {
  if (exempt.test(path)) return [];
  const leftovers: Leftover[] = [];
  for (const [index, content] of text.split('\n').entries()) {
    const line = index + 1;
    if (marker.test(content)) leftovers.push({ path, line, what: 'marker' });
    if (machinePath.test(content)) leftovers.push({ path, line, what: 'machine path' });
    if (path.endsWith('.test.ts') && only.test(content)) leftovers.push({ path, line, what: 'only' });
  }
  if (isSilent(path)) {
    for (const { name, line } of parseSourceFile(path, text).globals) {
      if (name === 'console') leftovers.push({ path, line, what: 'console' });
    }
  }
  return leftovers;
}

/** Whether a module has no business printing: programs print, libraries and tests do not. */
function isSilent(path: string): boolean {
  if (!path.endsWith('.ts') || path.endsWith('.d.ts')) return false;
  if (path.startsWith('packages/lockd/src/cli/')) return false;
  return /^(?:packages\/[^/]+|jepsen-style-tests)\/(?:src|test)\//.test(path) && !path.endsWith('/main.ts');
}
