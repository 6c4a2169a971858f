import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { optionsOf, parseOptions } from '../../src/sim/options.ts';

const parse = (line: string): ReturnType<typeof parseOptions> => parseOptions(line.split(' '), () => 1);

const name = fc.oneof(
  fc.integer({ min: 1, max: 999 }).map(String),
  fc
    .tuple(fc.integer({ min: 1, max: 9 }), fc.constantFrom('votes', 'leads', 'hands-over'))
    .map(([n, o]) => `n${n}.${o}.3`),
);

describe('the line that replays a run', () => {
  test('asks for that run', () => {
    const maybe = <Value>(of: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> =>
      fc.option(of, { nil: undefined });
    fc.assert(
      fc.property(
        fc.record({
          seed: fc.nat(),
          nodes: maybe(fc.integer({ min: 3, max: 7 })),
          limits: fc.record({
            only: maybe(fc.array(name)),
            untilMs: maybe(fc.nat({ max: 60_000 })),
            gapMs: maybe(fc.nat({ max: 60_000 })),
            clients: maybe(fc.integer({ min: 1, max: 5 })),
            calm: maybe(fc.subarray(['loss', 'drift'], { minLength: 1 })),
          }),
        }),
        (request) => {
          const { seed, nodes, limits } = request;
          const parsed = parse(optionsOf(request));
          expect(parsed).toMatchObject({ from: seed, to: seed, nodes });
          const isWhole = Object.values(limits).every((limit) => limit === undefined);
          expect(typeof parsed === 'string' ? parsed : parsed.limits).toEqual(isWhole ? undefined : limits);
        },
      ),
    );
  });

  test.each([
    ['--seeds 1..5 --only 3', 'what is left out belongs to one seed: --seed'],
    ['--seed 1 --only 3;4', '--only is a list like 3,7,n2.votes.4, or none'],
    ['--seed 1 --until later', '--until is a time in seconds'],
    ['--seed 1 --gap -1', undefined],
    ['--seed 1 --clients 0', '--clients is at least 1'],
    ['--seed 1 --trace --hash', 'one of --trace, --outline and --hash'],
    ['--seed 1 --shrink-seconds soon', '--shrink-seconds is a number'],
  ])('%s is refused in words', (line, words) => {
    const parsed = parse(line);
    expect(typeof parsed).toBe('string');
    if (words !== undefined) expect(parsed).toBe(words);
  });
});

test('a range shrinks its failure by itself, one seed only when asked', () => {
  expect(parse('--seeds 1..5')).toMatchObject({ shrinkSeconds: 20 });
  expect(parse('--seeds 1..5 --shrink-seconds 0')).toMatchObject({ shrinkSeconds: 0 });
  expect(parse('--seed 5')).toMatchObject({ shrinkSeconds: 0 });
  expect(parse('--seed 5 --shrink')).toMatchObject({ shrinkSeconds: 120 });
});

test('the kinds of faults are named one by one, as they are counted', () => {
  const line = ['--seed', '1', '--fault', 'node killed', '--fault', 'client hears late, and is not heard then'];
  const faults = ['node killed', 'client hears late, and is not heard then'];
  expect(parseOptions(line, () => 1)).toMatchObject({ faults });
  expect(optionsOf({ seed: 1, faults })).toBe(
    "--seed 1 --fault 'node killed' --fault 'client hears late, and is not heard then'",
  );
});

test('a planted bug brings the seed that shows it, unless another one is asked for', () => {
  const seedFor = (planted: string | undefined): number => (planted === 'held-cached' ? 6 : 1);
  const parsed = (line: string): unknown => parseOptions(line.split(' '), seedFor);
  expect(parsed('--planted held-cached')).toMatchObject({ from: 6, to: 6 });
  expect(parsed('--planted held-cached --seed 9')).toMatchObject({ from: 9, to: 9 });
  expect(parsed('--planted held-cached --seeds 2..4')).toMatchObject({ from: 2, to: 4 });
});
