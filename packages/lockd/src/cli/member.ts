import type { AdminAnswer } from '@lockd/client/protocol';
import { pause, realClock } from '../clock.ts';
import { askCluster } from './admin-client.ts';
import { EXIT } from './exit-codes.ts';
import { type Settings, usage } from './settings.ts';

interface Member {
  readonly name: string;
  readonly role: 'voter' | 'learner';
  readonly isLeader: boolean;
  readonly reachable: boolean;
  readonly peer: string | null;
  readonly client: string | null;
  readonly progress: number;
  readonly lag: number;
}

const POLL_MS = 200;

/** `lockd member list` */
export async function listMembers(settings: Settings): Promise<number> {
  const answer = await askCluster(settings, 'member-list');
  if (!answer.ok || isJson(settings)) return conclude(settings, answer, '');
  const members = membersOf(answer);
  const rows = [
    ['NODE', 'ROLE', 'STATE', 'LOG', 'PEERS', 'CLIENTS'],
    ...members.map((member) => [
      member.name,
      member.isLeader ? 'voter, leads' : member.role,
      member.reachable ? 'connected' : 'not connected',
      member.lag === 0 ? 'all' : `${percent(member.progress)}, ${member.lag} behind`,
      member.peer ?? '-',
      member.client ?? '-',
    ]),
  ];
  const widths = (rows[0] as string[]).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows) {
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] as number))
        .join('  ')
        .trimEnd()}\n`,
    );
  }
  if (answer['isChanging'] === true) process.stdout.write('\nA change of the members is under way.\n');
  return EXIT.ok;
}

/** `lockd member add NAME --peer HOST:PORT` */
export async function addMember(name: string, settings: Settings): Promise<number> {
  const answer = await askCluster(settings, 'member-add', {
    name,
    peer: settings.required('peer', '127.0.0.1:7204'),
    client: settings.text('client') ?? null,
  });
  return conclude(
    settings,
    answer,
    `${name} is a ${String(answer['role'])}. If it does not run yet, start it with --join; then: lockd member promote ${name} --wait`,
  );
}

/** `lockd member promote NAME [--wait [SECONDS]]` */
export async function promoteMember(name: string, settings: Settings): Promise<number> {
  const answer = await promote(name, settings, settings.flag('wait'));
  return conclude(settings, answer, `${name} has a vote.`);
}

/** `lockd member remove NAME` */
export async function removeMember(name: string, settings: Settings): Promise<number> {
  const answer = await askCluster(settings, 'member-remove', { name, force: settings.flag('force') });
  return conclude(
    settings,
    answer,
    `${name} is no member any more. It says so itself (lockd status), and can be stopped.`,
  );
}

/** `lockd member replace NAME`: the same name with an empty data directory, through removal and addition. */
export async function replaceMember(name: string, settings: Settings): Promise<number> {
  const before = await askCluster(settings, 'member-list');
  if (!before.ok) return conclude(settings, before, '');
  const member = membersOf(before).find((candidate) => candidate.name === name);
  const peer = settings.text('peer') ?? member?.peer ?? undefined;
  if (peer === undefined)
    throw usage(`${name} is no member, and nothing says where it is reached: give --peer HOST:PORT`);
  if (member !== undefined) {
    const removed = await askCluster(settings, 'member-remove', { name, force: settings.flag('force') });
    if (!removed.ok) return conclude(settings, removed, '');
    progress(settings, { step: 'removed', name });
  }
  const added = await askCluster(settings, 'member-add', { name, peer, client: settings.text('client') ?? null });
  if (!added.ok) return conclude(settings, added, '');
  progress(settings, { step: 'added', name });
  if (settings.flag('learner'))
    return conclude(settings, added, `${name} is a learner. Give it a vote with: lockd member promote ${name} --wait`);
  const answer = await promote(name, settings, true);
  return conclude(settings, answer, `${name} is a voter again, with a data directory of its own.`);
}

/** `lockd transfer-leader [NAME]` */
export async function transferLeader(name: string | undefined, settings: Settings): Promise<number> {
  const answer = await askCluster(settings, 'transfer-leader', { name: name ?? null });
  return conclude(settings, answer, `${String(answer['leader'])} leads.`);
}

async function promote(name: string, settings: Settings, waits: boolean): Promise<AdminAnswer> {
  const timeoutMs = (settings.integer('timeout') ?? 600) * 1000;
  const endMs = realClock.nowMs() + timeoutMs;
  let shown = '';
  for (;;) {
    const answer = await askCluster(settings, 'member-promote', { name });
    if (answer.ok || !waits) return answer;
    const { reason } = answer;
    const isWaiting = reason === 'not-caught-up' || reason === 'not-connected' || reason === 'change-pending';
    if (!isWaiting || realClock.nowMs() >= endMs) return answer;
    const share = typeof answer['progress'] === 'number' ? answer['progress'] : 0;
    const words = `${reason} ${percent(share)}`;
    if (words !== shown)
      progress(settings, { step: 'catching-up', name, reason, progress: share, lag: answer['lag'] ?? null });
    shown = words;
    await pause(POLL_MS);
  }
}

function progress(settings: Settings, event: Readonly<Record<string, unknown>>): void {
  if (isJson(settings)) {
    process.stdout.write(`${JSON.stringify({ event: 'progress', ...event })}\n`);
    return;
  }
  const { step, name, reason } = event;
  const what =
    step === 'catching-up'
      ? reason === 'not-connected'
        ? `waiting for ${String(name)} to connect: is it started?`
        : `${String(name)} has ${percent(event['progress'] as number)} of the log`
      : `${String(name)}: ${String(step)}`;
  process.stderr.write(`${what}\n`);
}

function conclude(settings: Settings, answer: AdminAnswer, words: string): number {
  if (isJson(settings)) process.stdout.write(`${JSON.stringify(answer)}\n`);
  else if (answer.ok) process.stdout.write(`${words}\n`);
  else process.stderr.write(`lockd: ${answer.message}\n`);
  if (answer.ok) return EXIT.ok;
  return answer.reason === 'no-leader' ? EXIT.unavailable : EXIT.failed;
}

function membersOf(answer: AdminAnswer): readonly Member[] {
  return answer['members'] as readonly Member[];
}

function percent(share: number): string {
  return `${Math.floor(share * 100)} %`;
}

function isJson(settings: Settings): boolean {
  return settings.text('output') === 'json';
}
