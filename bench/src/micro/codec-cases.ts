import { type Codec, jsonCodec, msgpackCodec, parseClientMessage } from '@lockd/client/protocol';
import type { MicroCase } from './harness.ts';

const MESSAGES_PER_FRAME = 64;

/** What the wire costs on either side: frames as a busy client and a busy server write them. */
export function codecCases(): readonly MicroCase[] {
  return [msgpackCodec, jsonCodec].flatMap((codec) => {
    const label = codec.subprotocol.split('.').at(-1) ?? codec.subprotocol;
    return [
      frameCase(`codec ${label}: encode acquire, 64 a frame`, (frame) => codec.encode(frame).length),
      decodeCase(`codec ${label}: decode and check acquire, 64 a frame`, codec, (messages) => {
        for (const message of messages) parseClientMessage(message as Parameters<typeof parseClientMessage>[0]);
        return messages.length;
      }),
      decodeCase(`codec ${label}: decode acquire, 64 a frame`, codec, (messages) => messages.length),
    ];
  });
}

function acquires(): readonly (readonly unknown[])[] {
  return Array.from({ length: MESSAGES_PER_FRAME }, (_, index) => [
    'acquire',
    1_000_001,
    5000 + index,
    4990,
    `bench/w1/1/${index}/3`,
    30_000,
    null,
    null,
  ]);
}

function frameCase(name: string, encode: (frame: readonly (readonly unknown[])[]) => number): MicroCase {
  return {
    name,
    prepare: () => {
      const frame = acquires();
      return {
        run(operations) {
          let done = 0;
          for (; done < operations; done += MESSAGES_PER_FRAME) {
            if (encode(frame) === 0) throw new Error(`${name}: an empty frame`);
          }
          return done;
        },
      };
    },
  };
}

function decodeCase(name: string, codec: Codec, use: (messages: readonly unknown[][]) => number): MicroCase {
  return {
    name,
    prepare: () => {
      const frame = codec.encode(acquires());
      return {
        run(operations) {
          let done = 0;
          for (; done < operations; done += MESSAGES_PER_FRAME) {
            if (use(codec.decode(frame)) !== MESSAGES_PER_FRAME) throw new Error(`${name}: messages are missing`);
          }
          return done;
        },
      };
    },
  };
}
