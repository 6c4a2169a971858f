import { readFileSync } from 'node:fs';
import { DEFAULTS } from '../config.ts';
import { CommandFailure, EXIT } from './exit-codes.ts';

/** Where `lockd cluster` listens by default. */
export const DEFAULT_ENDPOINTS: readonly string[] = [0, 1, 2].map(
  (offset) => `ws://127.0.0.1:${DEFAULTS.clientPort + offset}`,
);

/** Where a setting may come from, the first that has it: the flag, `LOCKD_…`, the file of --config. */
export class Settings {
  readonly #flags: Readonly<Record<string, unknown>>;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #file: Readonly<Record<string, unknown>>;

  /** `flags` by their names as given on the command line, without dashes at the front. */
  constructor(flags: Readonly<Record<string, unknown>>, environment: NodeJS.ProcessEnv) {
    this.#flags = flags;
    this.#environment = environment;
    const path = flags['config'] ?? environment['LOCKD_CONFIG'];
    this.#file = typeof path === 'string' ? readConfigFile(path) : {};
  }

  text(name: string): string | undefined {
    const given = this.#flags[name] ?? this.#environment[variableName(name)] ?? this.#file[name];
    if (given === undefined || given === '') return undefined;
    if (typeof given === 'string') return given;
    if (typeof given === 'number' || typeof given === 'boolean') return String(given);
    throw usage(`${name}: give a text or a number`);
  }

  required(name: string, example: string): string {
    const value = this.text(name);
    if (value !== undefined) return value;
    throw usage(
      `missing --${name} (or ${variableName(name)}, or "${name}" in the file of --config), for example --${name} ${example}`,
    );
  }

  integer(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!/^\d{1,15}$/.test(value)) throw usage(`--${name} ${value}: give a whole number`);
    return Number(value);
  }

  flag(name: string): boolean {
    const value = this.text(name);
    if (value === undefined || value === 'false' || value === '0') return false;
    if (value === 'true' || value === '1') return true;
    throw usage(`${name}: give true or false, not ${value}`);
  }

  oneOf<Choice extends string>(name: string, choices: readonly Choice[]): Choice | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) throw usage(`--${name} ${value}: give ${choices.join(' or ')}`);
    return choice;
  }

  list(name: string): string[] | undefined {
    return this.text(name)
      ?.split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  }
}

export function usage(message: string): CommandFailure {
  return new CommandFailure(message, EXIT.usage);
}

function variableName(name: string): string {
  return `LOCKD_${name.toUpperCase().replaceAll('-', '_')}`;
}

function readConfigFile(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw usage(`--config ${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw usage(`--config ${path}: not a JSON object`);
  return value as Record<string, unknown>;
}
