import { type HistoryLine, modeOf } from '../history/history-line.ts';
import type { Failure } from './verdict.ts';

/** Seconds since `originNs`, to the microsecond. */
export function seconds(instantNs: number, originNs: number): string {
  return `${((instantNs - originNs) / 1e9).toFixed(6)} s`;
}

/** One operation in words. */
export function describeLine(line: HistoryLine, originNs: number): string {
  const at = (instantNs: number): string => seconds(instantNs, originNs);
  const when =
    line.return === null ? `called at ${at(line.call)}, no answer` : `between ${at(line.call)} and ${at(line.return)}`;
  const mode =
    modeOf(line) === 'exclusive' ? '' : ` (${modeOf(line)}${line.limit === undefined ? '' : `, limit ${line.limit}`})`;
  switch (line.op) {
    case 'acquire':
      if (line.result === 'ok')
        return `${line.owner} ${line.steal === true ? 'was free to steal, and got' : 'got'} ${line.key}${mode} with token ${line.token}${reservationNote(line)}, ${when}${queueNote(line, at)}`;
      if (line.result === 'unknown')
        return `${line.owner} asked for ${line.key}${mode}, ${when}: it may or may not have got it${queueNote(line, at)}`;
      return `${line.owner} was refused ${line.key}${mode} ${line.because === undefined ? `because ${line.holder ?? 'somebody'} had it` : `(${line.because})`}, ${when}${queueNote(line, at)}`;
    case 'release':
      if (line.result === 'ok') return `${line.owner} was released from ${line.key} by ${line.client}, ${when}`;
      if (line.result === 'unknown')
        return `${line.client} released ${line.owner} from ${line.key}, ${when}: it may or may not have ended there`;
      return `${line.client} was told that ${line.owner} does not hold ${line.key}, ${when}`;
    case 'upgrade':
    case 'downgrade': {
      const change = line.op === 'upgrade' ? 'from shared to exclusive' : 'from exclusive to shared';
      if (line.result === 'ok')
        return `${line.owner} went ${change} on ${line.key}${line.token === null ? '' : ` with token ${line.token}`}, ${when}`;
      if (line.result === 'unknown') return `${line.owner} wanted to go ${change} on ${line.key}, ${when}`;
      return `${line.owner} could not go ${change} on ${line.key} because others share it, ${when}`;
    }
    case 'read': {
      const holders = line.holders ?? (line.holder === null ? [] : [line.holder]);
      return `${line.client} read ${line.key}: held by ${holders.length === 0 ? 'nobody' : holders.join(', ')}${line.token === null ? '' : ` (token ${line.token})`}, ${when}`;
    }
    case 'expire': {
      const looked = line.lastHeld === undefined ? '' : `; its holder still saw it as held at ${at(line.lastHeld)}`;
      const told = line.told === undefined ? '' : `; its holder was told of the loss at ${at(line.told)}`;
      return `the service may end the grant of ${line.owner} on ${line.key} by itself from ${at(line.call)} on${looked}${told}`;
    }
  }
}

function reservationNote({ maxHold, minHold, lockDelay }: HistoryLine): string {
  return [
    maxHold === undefined ? '' : ` for ${maxHold / 1e6} ms at most`,
    minHold === undefined ? '' : `, reserved for ${minHold / 1e6} ms at least`,
    lockDelay === undefined ? '' : `, reserved for ${lockDelay / 1e6} ms after an end that is no release`,
  ].join('');
}

function queueNote(line: HistoryLine, at: (instantNs: number) => string): string {
  const queued = line.queued === undefined ? '' : `; in the queue by ${at(line.queued)}`;
  return line.until === undefined ? queued : `${queued}; would have waited until ${at(line.until)}`;
}

/** A failure with its window told in time order. */
export function failure(key: string, what: string, window: readonly HistoryLine[], originNs: number): Failure {
  const inOrder = [...window].sort((a, b) => a.call - b.call);
  return { key, what, story: inOrder.map((line) => describeLine(line, originNs)), window: inOrder };
}
