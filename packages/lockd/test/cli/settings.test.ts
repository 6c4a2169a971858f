import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Settings } from '../../src/cli/settings.ts';
import { checkConfiguration, type NodeConfiguration, parseHostPort, parseInitialCluster } from '../../src/config.ts';

describe('where a setting comes from', () => {
  test('the flag wins, then the variable, then the file', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockd-settings-'));
    const config = join(directory, 'lockd.json');
    writeFileSync(config, JSON.stringify({ name: 'file', 'data-dir': 'file', heartbeat: 50, restart: true }));
    const settings = new Settings({ config, name: 'flag' }, { LOCKD_NAME: 'variable', LOCKD_DATA_DIR: 'variable' });
    expect(settings.text('name')).toBe('flag');
    expect(settings.text('data-dir')).toBe('variable');
    expect(settings.integer('heartbeat')).toBe(50);
    expect(settings.flag('restart')).toBe(true);
    expect(settings.flag('insecure-listen')).toBe(false);
    rmSync(directory, { recursive: true });
  });

  test('what is missing or wrong is named, with what would be right', () => {
    expect(() => new Settings({}, {}).required('name', 'n1')).toThrow(/--name.*LOCKD_NAME.*--name n1/);
    expect(() => new Settings({ heartbeat: 'soon' }, {}).integer('heartbeat')).toThrow(/--heartbeat soon/);
    expect(() => new Settings({ 'log-format': 'xml' }, {}).oneOf('log-format', ['human', 'json'])).toThrow(
      /human or json/,
    );
    expect(() => new Settings({ config: '/nonexistent/lockd.json' }, {})).toThrow(/--config \/nonexistent/);
  });
});

describe('what a node is started with', () => {
  const good: NodeConfiguration = {
    name: 'n1',
    dataDir: 'data',
    listenClient: { host: '127.0.0.1', port: 1 },
    listenPeer: { host: '127.0.0.1', port: 2 },
    initialCluster: new Map([['n1', '127.0.0.1:2']]),
  };

  test.each<[string, Partial<NodeConfiguration>, RegExp]>([
    ['a name that is not in the cluster', { name: 'n9' }, /n9 is not one of n1/],
    ['a name with spaces', { name: 'n 1' }, /letters, digits/],
    ['heartbeats too slow for the time-out', { heartbeatMs: 200 }, /fifth/],
    ['an election time-out of nothing', { electionTimeoutMs: 1 }, /--election-timeout/],
    ['clients from anywhere', { listenClient: { host: '0.0.0.0', port: 1 } }, /--client-token, or --insecure-listen/],
    ['peers from anywhere', { listenPeer: { host: '::', port: 1 } }, /--insecure-peer-listen/],
  ])('%s is refused', (_what, wrong, message) => {
    expect(() => checkConfiguration(good)).not.toThrow();
    expect(() => checkConfiguration({ ...good, ...wrong })).toThrow(message);
  });

  test('addresses', () => {
    expect(parseHostPort('[::1]:7101', 'x')).toEqual({ host: '::1', port: 7101 });
    for (const wrong of ['7101', 'host', 'host:', ':1', 'host:70000', 'ws://host:1', '::1:7101', 'host:1:2']) {
      expect(() => parseHostPort(wrong, '--listen-client')).toThrow(/--listen-client/);
    }
    expect([...parseInitialCluster('n1=a:1, n2=b:2')]).toEqual([
      ['n1', 'a:1'],
      ['n2', 'b:2'],
    ]);
    expect(() => parseInitialCluster('n1=a:1,n1=b:2')).toThrow(/twice/);
    expect(() => parseInitialCluster('n1=a:1,n2=a:1')).toThrow(/same address/);
    expect(() => parseInitialCluster('n1')).toThrow(/NAME=HOST:PORT/);
  });
});
