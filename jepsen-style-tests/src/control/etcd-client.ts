import { after } from '../clock.ts';

/** etcd's HTTP gateway, as far as locks need it. Keys travel as base64, whole numbers as strings. */
export class EtcdClient {
  readonly #endpoints: readonly string[];
  #at = 0;

  constructor(endpoints: readonly string[]) {
    this.#endpoints = endpoints;
  }

  /** A new lease. Resolves to its id. */
  async grantLease(ttlSeconds: number): Promise<string> {
    const { ID } = await this.#post('/v3/lease/grant', { TTL: ttlSeconds }, 3000);
    if (typeof ID !== 'string') throw new Error('etcd granted no lease');
    return ID;
  }

  /** Whether the lease was still there. */
  async keepAlive(lease: string, timeoutMs: number): Promise<boolean> {
    const { result } = await this.#post('/v3/lease/keepalive', { ID: lease }, timeoutMs);
    return Number((result as { readonly TTL?: string } | undefined)?.TTL ?? 0) > 0;
  }

  /** Waits for the lock of a name. Resolves to the key that stands for it. */
  async lock(name: string, lease: string, timeoutMs: number): Promise<string> {
    const { key } = await this.#post('/v3/lock/lock', { name: encode(name), lease }, timeoutMs);
    if (typeof key !== 'string') throw new Error('etcd gave no lock');
    return key;
  }

  async unlock(key: string): Promise<void> {
    await this.#post('/v3/lock/unlock', { key }, 3000);
  }

  /** The revision in which the key was made: for a name, a later holder's is larger. `undefined`: the key is gone. */
  async createRevision(key: string): Promise<number | undefined> {
    const { kvs } = await this.#post('/v3/kv/range', { key }, 3000);
    const first = (kvs as readonly { readonly create_revision?: string }[] | undefined)?.[0];
    return first?.create_revision === undefined ? undefined : Number(first.create_revision);
  }

  async #post(
    path: string,
    body: Readonly<Record<string, unknown>>,
    timeoutMs: number,
  ): Promise<Readonly<Record<string, unknown>>> {
    const controller = new AbortController();
    const cancel = after(timeoutMs, () => controller.abort(new Error(`etcd did not answer within ${timeoutMs} ms`)));
    try {
      const response = await fetch(`${this.#endpoints[this.#at % this.#endpoints.length]}${path}`, {
        method: 'POST',
        body: JSON.stringify(body),
        signal: controller.signal,
      });
      // A stream of one answer, such as a keep-alive's, is one JSON object too.
      const answer = (await response.json()) as Readonly<Record<string, unknown>>;
      if (!response.ok) throw new Error(`etcd: ${JSON.stringify(answer['error'] ?? response.status)}`);
      return answer;
    } catch (error) {
      this.#at++;
      throw error;
    } finally {
      cancel();
    }
  }
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}
