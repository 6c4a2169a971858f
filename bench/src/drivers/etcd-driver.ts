import type { ConnectOptions, DriverSpec, LockDriver } from './driver.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { ProtobufWriter, readProtobuf } from './protobuf.ts';

const LEASE_SECONDS = 3600;

/**
 * etcd over gRPC. Uncontended: one transaction "create the key unless it exists, under my lease", then a delete: the
 * fewest writes a lock can cost there. Contended: the server's own Lock and Unlock calls (v3lockpb), a queue in the
 * order of creation, with a lease per worker because their key is made from name and lease.
 * The leases outlast the run, so no renewals are sent: in etcd's favour.
 */
export async function connectEtcd(spec: DriverSpec, options: ConnectOptions): Promise<LockDriver> {
  const connections = Array.from(
    { length: options.connections },
    (_, index) => new GrpcConnection(spec.endpoints, spec.options?.['connectTo'] === 'all' ? index : 0),
  );
  const connectionOf = (worker: number): GrpcConnection => connections[worker % connections.length] as GrpcConnection;
  const grant = async (worker: number): Promise<bigint> => {
    const request = new ProtobufWriter().integer(1, LEASE_SECONDS).finish();
    const id = readProtobuf(await connectionOf(worker).call('/etcdserverpb.Lease/LeaseGrant', request)).get(2);
    if (typeof id !== 'bigint') throw new Error('etcd: no lease');
    return id;
  };
  const close = async (): Promise<void> => {
    for (const connection of connections) connection.close();
  };

  if (options.usage === 'contended') {
    const leases = await Promise.all(Array.from({ length: options.workers }, (_, worker) => grant(worker)));
    const driver: LockDriver<Buffer> = {
      async acquire(worker, name) {
        const request = new ProtobufWriter()
          .bytes(1, name)
          .integer(2, leases[worker] as bigint)
          .finish();
        const key = readProtobuf(await connectionOf(worker).call('/v3lockpb.Lock/Lock', request)).get(2);
        if (!(key instanceof Buffer)) throw new Error('etcd: Lock returned no key');
        return key;
      },
      async release(worker, key) {
        await connectionOf(worker).call('/v3lockpb.Lock/Unlock', new ProtobufWriter().bytes(1, key).finish());
      },
      close,
    };
    return driver;
  }

  const leases = await Promise.all(connections.map((_, index) => grant(index)));
  const driver: LockDriver<string> = {
    async acquire(worker, name) {
      // Compare: result EQUAL (0), target VERSION (0), so only key and version 0 remain; the version is written
      // explicitly because an absent one would be no comparison at all.
      const compare = Buffer.concat([new ProtobufWriter().bytes(3, name).finish(), VERSION_ZERO]);
      const put = new ProtobufWriter()
        .bytes(1, name)
        .integer(3, leases[worker % leases.length] as bigint)
        .finish();
      const success = new ProtobufWriter().bytes(2, put).finish();
      const request = new ProtobufWriter().bytes(1, compare).bytes(2, success).finish();
      const answer = readProtobuf(await connectionOf(worker).call('/etcdserverpb.KV/Txn', request));
      if (answer.get(2) !== 1n) throw new Error(`etcd: ${name} is held`);
      return name;
    },
    async release(worker, name) {
      await connectionOf(worker).call('/etcdserverpb.KV/DeleteRange', new ProtobufWriter().bytes(1, name).finish());
    },
    close,
  };
  return driver;
}

const VERSION_ZERO = Buffer.from([4 << 3, 0]);
