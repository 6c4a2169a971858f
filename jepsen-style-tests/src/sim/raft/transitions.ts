import type { RaftStatus, TraceEvent } from '@lockd/raft';
import type { Counters } from '../world/counters.ts';

/** See `Trace.event`. */
export type Say = (what: string, details?: () => string, first?: number, second?: number, third?: number) => void;

/** Says in the trace what a core reports, and counts what is worth counting. `lastIndexBefore`: of its log, before the event. */
export function tellTransition(event: TraceEvent, lastIndexBefore: number, say: Say, counters: Counters): void {
  const { state } = event;
  switch (event.type) {
    case 'send':
    case 'receive': {
      const { message } = event;
      const isSent = event.type === 'send';
      say(
        isSent ? 'sends' : 'receives',
        () => messageInWords(message, isSent),
        message.term,
        message.type.length,
        isSent ? 0 : 1,
      );
      break;
    }
    case 'role':
      say('becomes', () => `${state.role} in term ${state.term}`, state.term, state.role.length);
      counters.add(`became ${state.role}`);
      break;
    case 'append':
      if (event.from <= lastIndexBefore) counters.add('uncommitted suffix truncated');
      say(
        'appends',
        () =>
          `entries ${event.from} to ${state.lastIndex} of term ${event.entryTerm}${event.from <= lastIndexBefore ? `, in place of those up to ${lastIndexBefore}` : ''}`,
        event.from,
        state.lastIndex,
        event.entryTerm,
      );
      break;
    case 'commit':
      say('commits', () => `up to ${state.commitIndex}`, state.commitIndex, state.term);
      break;
    case 'durable':
      say('has on disk', () => `write ${event.write}`, event.write);
      break;
    case 'configuration':
      if (state.configuration.outgoing.length > 0) counters.add('joint configuration took effect');
      say('works with', () => configurationInWords(state.configuration), state.appliedIndex);
      break;
    case 'snapshot':
      counters.add('snapshot installed');
      say('takes a snapshot', () => `at ${state.lastIndex} in place of its log`, state.lastIndex);
      break;
    case 'start':
      if (state.lastIndex < lastIndexBefore) counters.add('torn tail trimmed');
      say(
        'recovers',
        () => `term ${state.term}, log up to ${state.lastIndex}, committed ${state.commitIndex}`,
        state.term,
        state.lastIndex,
        state.commitIndex,
      );
      break;
  }
}

type Message = Extract<TraceEvent, { type: 'send' }>['message'];

function messageInWords(message: Message, isSent: boolean): string {
  const peer = isSent ? `to ${message.to}` : `from ${message.from}`;
  const head = `${message.type} ${peer}, term ${message.term}`;
  switch (message.type) {
    case 'vote-request':
      return `${message.preVote ? 'pre-' : ''}${head}: log up to ${message.lastLogIndex} of term ${message.lastLogTerm}${message.transfer ? ', on behalf of the leader' : ''}`;
    case 'vote-response':
      return `${message.preVote ? 'pre-' : ''}${head}: ${message.granted ? 'yes' : 'no'}`;
    case 'append-request': {
      const last = message.runs.at(-1)?.lastIndex;
      const entries = last === undefined ? 'nothing' : `${message.runs[0]?.firstIndex} to ${last}`;
      return `${head}: ${entries} after ${message.previousIndex} of term ${message.previousTerm}, committed ${message.commitIndex}`;
    }
    case 'append-response':
      return message.success
        ? `${head}: has up to ${message.matchIndex}`
        : `${head}: refuses ${message.matchIndex}, try ${message.hintIndex}`;
    case 'heartbeat':
      return `${head}: committed ${message.commitIndex}, round ${message.round}`;
    case 'heartbeat-response':
      return `${head}: round ${message.round}`;
    case 'timeout-now':
      return head;
    case 'snapshot-request':
      return `${head}: snapshot at ${message.metadata.index}`;
  }
}

function configurationInWords({ voters, outgoing, learners }: RaftStatus['configuration']): string {
  const parts = [`voters ${voters.join(' ')}`];
  if (outgoing.length > 0) parts.push(`and the old ones ${outgoing.join(' ')}`);
  if (learners.length > 0) parts.push(`learners ${learners.join(' ')}`);
  return parts.join(', ');
}
