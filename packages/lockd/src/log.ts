import { type Clock, isoTime } from './clock.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** Says what happened, for people and for log collectors. Never called per operation. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: 'human' | 'json';
  /** Takes one line, with its line feed. */
  readonly write: (line: string) => void;
  readonly clock: Clock;
  /** In every line: the node's name. */
  readonly name?: string;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

export function createLogger(options: LogOptions): Logger {
  const lowest = LOG_LEVELS.indexOf(options.level);
  const log = (level: LogLevel, message: string, fields: LogFields | undefined): void => {
    if (LOG_LEVELS.indexOf(level) < lowest) return;
    const time = isoTime(options.clock.wallMs());
    if (options.format === 'json') {
      options.write(`${JSON.stringify({ level, time, name: options.name, message, ...fields })}\n`);
      return;
    }
    const details = Object.entries(fields ?? {})
      .filter(([, value]) => value !== undefined)
      .map(
        ([key, value]) =>
          `${key}=${typeof value === 'string' && /[\s"=]/.test(value) ? JSON.stringify(value) : String(value)}`,
      );
    const parts = [
      time.slice(11, 23),
      level.toUpperCase().padEnd(5),
      ...(options.name === undefined ? [] : [`${options.name}:`]),
      message,
      ...details,
    ];
    options.write(`${parts.join(' ')}\n`);
  };
  return {
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
  };
}
