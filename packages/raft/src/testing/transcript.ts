import type { Message } from '../core/message.ts';

/** A message in a few words: `a>b append 3/2 +2 commit 3`, for transcripts that a person compares. */
export function describeMessage(message: Message): string {
  return `${message.from}>${message.to} t${message.term} ${describeContent(message)}`;
}

function describeContent(message: Message): string {
  switch (message.type) {
    case 'vote-request': {
      const kind = message.preVote ? 'pre-vote?' : message.transfer ? 'vote? (transfer)' : 'vote?';
      return `${kind} log ${message.lastLogIndex}/${message.lastLogTerm}`;
    }
    case 'vote-response':
      return `${message.preVote ? 'pre-vote' : 'vote'} ${message.granted ? 'granted' : 'refused'}`;
    case 'append-request': {
      const count = message.runs.reduce((sum, run) => sum + run.count, 0);
      return `append after ${message.previousIndex}/${message.previousTerm} +${count} commit ${message.commitIndex}`;
    }
    case 'append-response':
      return message.success
        ? `appended ${message.matchIndex}`
        : `append refused after ${message.matchIndex}, try ${message.hintIndex}/${message.hintTerm}`;
    case 'heartbeat':
      return `heartbeat round ${message.round} commit ${message.commitIndex}`;
    case 'heartbeat-response':
      return `heard round ${message.round}`;
    case 'timeout-now':
      return 'timeout-now';
    case 'snapshot-request':
      return `snapshot ${message.metadata.index}/${message.metadata.term}`;
    default:
      return message satisfies never;
  }
}
