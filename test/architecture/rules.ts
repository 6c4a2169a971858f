import { posix } from 'node:path';
import { type Import, parseSourceFile, type SourceFile } from './source-file.ts';

/** One broken rule, as a line to read: where, and what the rule says. */
export interface Violation {
  readonly rule: 'imports' | 'unresolved' | 'cycle' | 'clock' | 'one-clock' | 'unused-exception';
  readonly path: string;
  readonly message: string;
}

/** A mention of time, timers or randomness outside clock.ts, and why it is right there. */
export interface ClockException {
  readonly path: string;
  readonly name: string;
  readonly reason: string;
}

/** What the modules of a folder may import besides one another. The first area that fits a path applies. */
interface Area {
  readonly path: string;
  /** Entry points of the workspace's own packages; `any` for tests, benchmarks and examples. */
  readonly workspace: readonly string[] | 'any';
  /** Packages from elsewhere, `node:` modules included. Where it is `any`, package.json decides. */
  readonly external: readonly string[] | 'any';
  /** Relative imports end here. By default at the package, and from `src` never at its tests. */
  readonly boundary?: string;
  /** Names that may be taken from an entry point, where not all of it is allowed. */
  readonly onlyNamesFrom?: { readonly specifier: string; readonly files: readonly string[] };
}

const raftVocabulary = ['packages/raft/src/core/ids.ts', 'packages/raft/src/core/invariant.ts'];

const areas: readonly Area[] = [
  { path: 'packages/raft/src/core/', workspace: [], external: [], boundary: 'packages/raft/src/core/' },
  { path: 'packages/raft/src/', workspace: [], external: 'any' },
  {
    path: 'packages/client/src/protocol/',
    workspace: [],
    external: ['msgpackr'],
    boundary: 'packages/client/src/protocol/',
  },
  { path: 'packages/client/src/', workspace: [], external: 'any' },
  {
    path: 'packages/lockd/src/lock-table/',
    workspace: ['@lockd/raft', '@lockd/client/protocol'],
    external: ['msgpackr'],
    boundary: 'packages/lockd/src/lock-table/',
    onlyNamesFrom: { specifier: '@lockd/raft', files: raftVocabulary },
  },
  {
    path: 'packages/lockd/src/cli/',
    workspace: ['@lockd/raft', '@lockd/raft/node', '@lockd/client', '@lockd/client/protocol'],
    external: 'any',
  },
  {
    path: 'packages/lockd/src/',
    workspace: ['@lockd/raft', '@lockd/raft/node', '@lockd/client/protocol'],
    external: 'any',
  },
  { path: 'packages/lockd/bin/', workspace: [], external: [] },
  // A package's own tests may reach whatever they compare it with.
  {
    path: 'packages/raft/test/',
    workspace: ['@lockd/raft', '@lockd/raft/node', '@lockd/raft/testing'],
    external: 'any',
  },
  { path: 'packages/', workspace: 'any', external: 'any' },
  { path: 'bench/', workspace: 'any', external: 'any' },
  { path: 'jepsen-style-tests/', workspace: 'any', external: 'any' },
  { path: 'examples/', workspace: 'any', external: 'any' },
  { path: 'test/', workspace: 'any', external: 'any', boundary: '' },
  { path: 'scripts/', workspace: [], external: [], boundary: '' },
  { path: '', workspace: [], external: 'any', boundary: '' },
];

const timeAndChance = new Set([
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'Math.random',
  'process.hrtime',
]);
const modulesOfTime = new Set(['node:timers', 'node:timers/promises', 'node:perf_hooks']);

/** Checks all modules, given by path from the root. */
export function checkArchitecture(
  texts: ReadonlyMap<string, string>,
  clockExceptions: readonly ClockException[] = [],
): Violation[] {
  const files = new Map([...texts].map(([path, text]) => [path, parseSourceFile(path, text)]));
  return [
    ...[...files.values()].flatMap((file) => checkImports(file, files, texts)),
    ...checkCycles(files),
    ...checkClocks(files, clockExceptions),
  ];
}

function checkImports(
  file: SourceFile,
  files: ReadonlyMap<string, SourceFile>,
  texts: ReadonlyMap<string, string>,
): Violation[] {
  const area = areas.find((candidate) => file.path.startsWith(candidate.path));
  if (area === undefined) throw new Error(`no area for ${file.path}`);
  const violations: Violation[] = [];
  const report = (rule: Violation['rule'], { line, specifier }: Import, why: string): void => {
    violations.push({ rule, path: file.path, message: `line ${line}: '${specifier}': ${why}` });
  };

  for (const imported of file.imports) {
    const { specifier, names } = imported;
    if (specifier.startsWith('.')) {
      const target = resolveRelative(file.path, specifier);
      const boundary = area.boundary ?? `${packageOf(file.path)}/`;
      if (!target.startsWith(boundary)) report('imports', imported, `relative imports here stay inside ${boundary}`);
      else if (inSources(file.path) && !inSources(target) && !target.endsWith('.json')) {
        report('imports', imported, 'sources import sources only');
      }
      if (!files.has(target) && !texts.has(target) && !target.endsWith('.json')) {
        report('unresolved', imported, `there is no ${target}`);
      }
      continue;
    }
    // `#name` is an entry of the package's own "imports".
    if (specifier.startsWith('#')) {
      if (area.external !== 'any') report('imports', imported, `${area.path} depends on nothing outside itself`);
      continue;
    }
    if (isOfWorkspace(specifier)) {
      if (area.workspace !== 'any' && !area.workspace.includes(specifier)) {
        report(
          'imports',
          imported,
          `${area.path || 'the root'} may import ${area.workspace.join(', ') || 'no package of the workspace'}`,
        );
      }
    } else if (area.external !== 'any' && !area.external.includes(specifier)) {
      if (area.path !== 'scripts/' || !specifier.startsWith('node:')) {
        report('imports', imported, `${area.path} may import ${area.external.join(', ') || 'nothing from outside'}`);
      }
    }
    if (area.onlyNamesFrom?.specifier === specifier) {
      const allowed = new Set(area.onlyNamesFrom.files.flatMap((path) => exportedNames(texts.get(path))));
      for (const name of names.filter((candidate) => !allowed.has(candidate))) {
        report('imports', imported, `${area.path} may take only ids and invariants from it, not ${name}`);
      }
    }
  }
  return violations;
}

/**
 * No module loads itself in a circle. Types may refer to one another within a folder, as records that point at one
 * another do; across folders a circle of types means that the folders are one.
 */
function checkCycles(files: ReadonlyMap<string, SourceFile>): Violation[] {
  const graph = (includeTypes: boolean): Map<string, string[]> =>
    new Map(
      [...files.values()].map(({ path, imports }) => {
        const relative = imports.filter(
          ({ specifier, isTypeOnly }) => specifier.startsWith('.') && (includeTypes || !isTypeOnly),
        );
        return [path, relative.map(({ specifier }) => resolveRelative(path, specifier))];
      }),
    );
  const ofModules = circles(graph(false));
  const ofFolders = circles(graph(true)).filter(
    (circle) => new Set(circle.map((path) => posix.dirname(path))).size > 1,
  );
  const reported = new Set(ofModules.flat());
  return [...ofModules, ...ofFolders.filter((circle) => !circle.some((path) => reported.has(path)))].map((circle) => ({
    rule: 'cycle',
    path: circle[0] ?? '',
    message: `these import one another: ${circle.join(', ')}`,
  }));
}

/** The strongly connected parts with an edge inside (Tarjan's algorithm), each sorted. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const order = new Map<string, number>();
  const open: string[] = [];
  const isOpen = new Set<string>();
  const found: string[][] = [];

  const visit = (path: string): number => {
    let low = order.size;
    order.set(path, low);
    open.push(path);
    isOpen.add(path);
    for (const target of graph.get(path) ?? []) {
      if (!order.has(target)) low = Math.min(low, visit(target));
      else if (isOpen.has(target)) low = Math.min(low, order.get(target) ?? low);
    }
    if (low === order.get(path)) {
      const part = open.splice(open.indexOf(path));
      for (const member of part) isOpen.delete(member);
      if (part.length > 1 || graph.get(path)?.includes(path)) found.push(part.toSorted());
    }
    return low;
  };
  for (const path of graph.keys()) if (!order.has(path)) visit(path);
  return found;
}

function checkClocks(files: ReadonlyMap<string, SourceFile>, exceptions: readonly ClockException[]): Violation[] {
  const violations: Violation[] = [];
  const unused = new Set(exceptions);
  const clocks = new Map<string, string>();

  for (const file of files.values()) {
    if (!file.path.startsWith('packages/') || !inSources(file.path)) continue;
    // Below testing/ a clock is a simulated one.
    if (posix.basename(file.path) === 'clock.ts' && !file.path.includes('/testing/')) {
      const other = clocks.get(packageOf(file.path));
      if (other !== undefined) {
        violations.push({ rule: 'one-clock', path: file.path, message: `the package has a clock already: ${other}` });
      }
      clocks.set(packageOf(file.path), file.path);
      continue;
    }
    const mentions = [
      ...file.globals.filter(({ name }) => timeAndChance.has(name)),
      ...file.imports
        .filter(({ specifier }) => modulesOfTime.has(specifier))
        .map(({ specifier, line }) => ({ name: specifier, line })),
    ];
    for (const { name, line } of mentions) {
      const exception = exceptions.find((candidate) => candidate.path === file.path && candidate.name === name);
      if (exception === undefined) {
        const message = `line ${line}: ${name}: time, timers and chance come in through the package's clock.ts`;
        violations.push({ rule: 'clock', path: file.path, message });
      } else {
        unused.delete(exception);
      }
    }
  }
  for (const { path, name } of unused) {
    violations.push({ rule: 'unused-exception', path, message: `${name} is allowed there and not used` });
  }
  return violations;
}

// The extension as written in this repository is the source's own; compiled programs name their output.
function resolveRelative(from: string, specifier: string): string {
  const target = posix.join(posix.dirname(from), specifier);
  return target.includes('/dist/') ? target.replace('/dist/', '/src/').replace(/\.js$/, '.ts') : target;
}

/** The folder of the package a path is in; '' for the root. */
function packageOf(path: string): string {
  const depth = path.startsWith('packages/') || path.startsWith('examples/') ? 2 : 1;
  const parts = path.split('/');
  return parts.length > depth ? parts.slice(0, depth).join('/') : '';
}

const inSources = (path: string): boolean => path.startsWith(`${packageOf(path)}/src/`);

const isOfWorkspace = (specifier: string): boolean =>
  specifier.startsWith('@lockd/') || specifier === 'lockd' || specifier.startsWith('lockd/');

function exportedNames(text: string | undefined): string[] {
  const declaration = /^export (?:declare )?(?:abstract )?(?:type|interface|const|function|class) (\w+)/gm;
  return [...(text ?? '').matchAll(declaration)].map(([, name]) => name ?? '');
}
