/**
 * A connection that carries whole frames, as far as a node needs one: a WebSocket of `ws`, or what stands for one in
 * the simulator. Events as in `ws`; `close` comes once, whatever ended it, and is the last.
 */
export interface FrameSocket {
  /** {@link SOCKET_OPEN} from `open` until one side closes. */
  readonly readyState: number;
  /** Bytes handed over and not yet taken by the kernel. */
  readonly bufferedAmount: number;
  /** Text frames are strings. `onTaken`: the kernel has it. */
  send(frame: Uint8Array | string, onTaken?: () => void): void;
  /** What was sent before still arrives where that is possible. */
  close(code?: number, reason?: string): void;
  /** Ends at once, without a word to the other side. */
  terminate(): void;
  on(event: 'open', listener: () => void): unknown;
  /** Bytes also of a text frame, which `isBinary` tells. */
  on(event: 'message', listener: (data: unknown, isBinary: boolean) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
}

/** `OPEN` of the WebSocket API. */
export const SOCKET_OPEN = 1;
