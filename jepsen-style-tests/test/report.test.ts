import { Script } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { renderReport } from '../src/report/report.ts';
import { sampleRun } from './support/sample-run.ts';

describe('the report', () => {
  const page = renderReport(sampleRun(600, 30, { isBroken: true }));

  test('is one page that needs no network', () => {
    expect(page).not.toMatch(/(?:src|href)\s*=\s*["']?(?:https?:)?\/\//);
    expect(page).not.toMatch(/@import|url\(/);
    expect(page.match(/<script/g)).toHaveLength(2);
  });

  test('says verdict, seed and command, and shows the failing window to scale and in words', () => {
    expect(page).toContain('FAILED');
    expect(page).toContain('20261123');
    expect(page).toContain('npm run jepsen -- --seconds 30 --nodes 3 --seed 20261123');
    expect(page).toContain('had exclusive:1 at the same time');
    expect(page).toContain('<svg class="window"');
  });

  test('has a script that parses, and data that does', () => {
    const scripts = [...page.matchAll(/<script(?: type="application\/json" id="data")?>([\s\S]*?)<\/script>/g)].map(
      (match) => match[1] as string,
    );
    const data = JSON.parse(scripts[0] as string) as { holds: unknown[]; nodes: unknown[] };
    expect(data.holds.length).toBeGreaterThan(500);
    expect(data.nodes).toHaveLength(3);
    expect(() => new Script(scripts[1] as string)).not.toThrow();
  });

  test('does not let names break out of the page', () => {
    const run = sampleRun(60, 10, { isBroken: false });
    const evil = '</script><script>alert(1)</script>';
    const lines = run.collector.lines.map((line) => ({ ...line, key: evil }));
    const broken = renderReport({ ...run, command: evil, collector: { ...run.collector, lines } });
    expect(broken).not.toContain(evil);
  });

  test('of 100,000 operations stays below 15 MB', () => {
    const large = renderReport({ ...sampleRun(45_000, 600, { isBroken: false }), verdicts: [] });
    expect(large.length).toBeLessThan(15e6);
  });
});
