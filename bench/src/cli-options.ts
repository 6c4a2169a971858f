import { InvalidArgumentError } from 'commander';

/** Parsers for the values of options. Each throws commander's InvalidArgumentError with what was expected. */

export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError('a number above 0 is expected.');
  return value;
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number is expected.');
  return value;
}

export function wholeNumbers(text: string): readonly number[] {
  const values = text.split(',').map(Number);
  if (values.some((value) => !Number.isSafeInteger(value) || value < 1))
    throw new InvalidArgumentError('whole numbers above 0 with commas between them are expected.');
  return values;
}

export function names(text: string): readonly string[] {
  return text.split(',').map((name) => name.trim().toLowerCase());
}
