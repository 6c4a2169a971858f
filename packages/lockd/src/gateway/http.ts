import type { IncomingMessage, ServerResponse } from 'node:http';

/** What the HTTP side of the client listener shows. */
export interface HttpViews {
  /** Undefined: alive. Otherwise why this process should be restarted or looked at. */
  whyNotLive(): string | undefined;
  /** Undefined: requests sent here are served. Otherwise why not. */
  whyNotReady(): string | undefined;
  metrics(): string;
}

const HELP = `lockd: clients connect with WebSocket (subprotocol lockd.v1.json or lockd.v1.msgpack).
/livez    is this process all right?
/readyz   does it serve requests?
/metrics  counters for Prometheus
`;

export function handleHttp(views: HttpViews, request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    reply(response, 405, 'only GET\n');
    return;
  }
  switch ((request.url ?? '/').split('?', 1)[0]) {
    case '/livez':
      health(response, views.whyNotLive());
      break;
    case '/readyz':
      health(response, views.whyNotLive() ?? views.whyNotReady());
      break;
    case '/metrics':
      reply(response, 200, views.metrics(), 'text/plain; version=0.0.4; charset=utf-8');
      break;
    case '/':
      reply(response, 200, HELP);
      break;
    default:
      reply(response, 404, HELP);
  }
}

function health(response: ServerResponse, problem: string | undefined): void {
  if (problem === undefined) reply(response, 200, 'ok\n');
  else reply(response, 503, `${problem}\n`);
}

function reply(response: ServerResponse, status: number, body: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

/** One metric of the exposition format. */
export interface Metric {
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
  readonly value: number;
}

export function renderMetrics(metrics: readonly Metric[]): string {
  return metrics
    .map(({ name, type, help, value }) => `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`)
    .join('');
}
