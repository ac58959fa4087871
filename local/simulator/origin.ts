import type { IncomingMessage } from 'node:http';

/** The origin under which the caller reached the simulator, for `results_url`: the service prints an absolute address (claude-batches.md 1.6). */
export function originOf(request: IncomingMessage): string {
  const { socket } = request;
  return `http://${request.headers.host ?? `${socket.localAddress ?? '127.0.0.1'}:${socket.localPort ?? 80}`}`;
}
