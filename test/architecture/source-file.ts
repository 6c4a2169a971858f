import { parseSync } from 'oxc-parser';

/** What the rules need to know about one module. */
export interface SourceFile {
  /** From the root, with `/`. */
  readonly path: string;
  readonly imports: readonly Import[];
  /** Global names it mentions (`Date`, `Math.random`, `console`), each with its line. */
  readonly globals: readonly Mention[];
}

export interface Import {
  /** As written. */
  readonly specifier: string;
  /** The names taken from it; `*` for a whole namespace, nothing for a bare `import 'x'`. */
  readonly names: readonly string[];
  /** Erased by the compiler: `import type`. What `import { type A }` leaves behind still loads the module. */
  readonly isTypeOnly: boolean;
  readonly line: number;
}

export interface Mention {
  readonly name: string;
  readonly line: number;
}

/** A parsed syntax node, as far as a walk over all of them has to know it. */
interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly [field: string]: unknown;
}

const globalObjects = new Set(['globalThis', 'window', 'self', 'global']);
const objectsWithWatchedMembers = new Set(['Math', 'process']);

/** @throws when the text does not parse: a file the rules cannot read must not pass for one that obeys them. */
export function parseSourceFile(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`);

  const imports: Import[] = [];
  const globals: Mention[] = [];
  const lineOf = (offset: number): number => text.slice(0, offset).split('\n').length;

  walk(program as unknown as SyntaxNode, undefined, (node, parent) => {
    const specifier = importedSpecifier(node);
    if (specifier !== undefined) {
      const isTypeOnly = [node.type, node['importKind'], node['exportKind']].some((kind) =>
        /^(?:type|TSImportType)$/.test(String(kind)),
      );
      imports.push({ specifier, names: importedNames(node), isTypeOnly, line: lineOf(node.start) });
    }
    const name = mentionedGlobal(node, parent);
    if (name !== undefined) globals.push({ name, line: lineOf(node.start) });
  });
  return { path, imports, globals };
}

function importedSpecifier(node: SyntaxNode): string | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
    case 'ImportExpression':
    case 'TSImportType': {
      const source = node['source'] ?? node['argument'];
      if (!isNode(source)) return undefined;
      const literal = isNode(source['literal']) ? source['literal'] : source;
      return typeof literal['value'] === 'string' ? literal['value'] : undefined;
    }
    default:
      return undefined;
  }
}

function importedNames(node: SyntaxNode): string[] {
  if (node.type === 'ExportAllDeclaration' || node.type === 'ImportExpression' || node.type === 'TSImportType')
    return ['*'];
  const specifiers = Array.isArray(node['specifiers']) ? node['specifiers'].filter(isNode) : [];
  return specifiers.map((specifier) => {
    const imported = specifier.type === 'ExportSpecifier' ? specifier['local'] : specifier['imported'];
    if (specifier.type === 'ImportDefaultSpecifier') return 'default';
    if (specifier.type === 'ImportNamespaceSpecifier' || !isNode(imported)) return '*';
    return String(imported['name'] ?? imported['value']);
  });
}

// The name of a global that this node mentions, or of a local one of the same name: telling them apart is not worth a
// scope analysis, and a local called `Date` would mislead its readers too.
function mentionedGlobal(node: SyntaxNode, parent: SyntaxNode | undefined): string | undefined {
  if (node.type === 'MemberExpression') {
    const { object, property } = node;
    if (!isNode(object) || object.type !== 'Identifier' || !isNode(property)) return undefined;
    const member = String(node['computed'] === true ? property['value'] : property['name']);
    if (globalObjects.has(String(object['name']))) return member;
    return objectsWithWatchedMembers.has(String(object['name'])) ? `${String(object['name'])}.${member}` : undefined;
  }
  if (node.type !== 'Identifier' || parent === undefined || isOnlyAName(node, parent)) return undefined;
  return String(node['name']);
}

/** A member, key or export name: it reads like a variable and refers to none. */
function isOnlyAName(node: SyntaxNode, parent: SyntaxNode): boolean {
  if (parent['computed'] === true) return false;
  // In `{ setTimeout }` the key and the value are two nodes; the value is the reference.
  if (parent['property'] === node || parent['key'] === node) return true;
  return parent['imported'] === node || parent['exported'] === node || parent['label'] === node;
}

function walk(
  node: SyntaxNode,
  parent: SyntaxNode | undefined,
  visit: (node: SyntaxNode, parent: SyntaxNode | undefined) => void,
): void {
  visit(node, parent);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) walk(child, node, visit);
  }
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}
