import { expect, test } from 'vitest';
import { Outline } from '../../src/sim/outline.ts';

test('an outline of a long run is a page: what tells, and everything at the end', () => {
  const outline = new Outline();
  for (let event = 1; event <= 10_000; event += 1) {
    if (event % 100 === 0) outline.print(`${event} n1 becomes leader`, 'n1', 'becomes');
    else outline.print(`${event} n1 sends`, 'n1', 'sends');
  }
  const lines = outline.lines();
  expect(lines.length).toBeLessThan(80);
  expect(lines[0]).toContain('… 39 telling events before that');
  expect(lines[1]).toBe('4000 n1 becomes leader');
  expect(lines).toContain('9900 n1 becomes leader');
  expect(lines.slice(-2)).toEqual(['9999 n1 sends', '10000 n1 becomes leader']);
});

test('an outline of a short run is the run', () => {
  const outline = new Outline();
  const lines = ['a', 'b', 'c'];
  for (const line of lines) outline.print(line, 'n1', 'sends');
  expect(outline.lines()).toEqual(lines);
});

test('where a failure is about a client, an outline tells what was said about the same lock and session, and little else', () => {
  const outline = new Outline();
  const say = (who: string, what: string, details: string): void =>
    outline.print(`${who} ${what} ${details}`, who, what);
  say('log', 'grants', 'exclusive:1 to handle 1 of session 7: token 12');
  say('c1', 'is granted', 'exclusive:1, handle 1 of session 7: token 12');
  say('c2', 'is granted', 'fifo:1, handle 1 of session 8: token 14');
  for (let event = 0; event < 100; event += 1) say('n1', 'sends', 'something');
  say('nemesis', 'strikes', '3: client cut off');
  say('log', 'expires', 'session 7');
  for (let event = 0; event < 100; event += 1) say('n1', 'sends', 'something');
  expect(outline.lines('told before lost: c1/1 still sees exclusive:1 as held').slice(0, 3)).toEqual([
    'log grants exclusive:1 to handle 1 of session 7: token 12',
    'c1 is granted exclusive:1, handle 1 of session 7: token 12',
    'nemesis strikes 3: client cut off',
  ]);
  const aboutSession = outline.lines('lease lower bound: session 7 of c1 expired 20 ms before its time');
  expect(aboutSession).toContain('log expires session 7');
  expect(aboutSession.some((line) => line.includes('fifo:1'))).toBe(false);
  expect(aboutSession.length).toBeLessThan(10);
});

test('an outline tells of leaders and members what is new', () => {
  const outline = new Outline();
  const say = (who: string, what: string, details: string): void =>
    outline.print(`${who} ${what} ${details}`, who, what);
  say('n1', 'is', 'joining: holds no data yet');
  say('n1', 'works with', 'voters n1 n2');
  say('n2', 'works with', 'voters n1 n2');
  say('n1', 'becomes', 'pre-candidate in term 1');
  say('n1', 'becomes', 'candidate in term 2');
  say('n2', 'becomes', 'follower in term 2');
  say('n1', 'becomes', 'leader in term 2');
  say('n1', 'becomes', 'follower in term 3');
  say('n2', 'is', 'damaged: bit rot');
  for (let event = 0; event < 15; event += 1) say('n1', 'sends', 'something');
  expect(outline.lines().filter((line) => !line.includes('something'))).toEqual([
    'n1 works with voters n1 n2',
    'n1 becomes candidate in term 2',
    'n1 becomes leader in term 2',
    'n1 becomes follower in term 3',
    'n2 is damaged: bit rot',
    expect.stringContaining('4 others so far'),
  ]);
});
