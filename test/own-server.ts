/** HTTP servers that a test writes itself. Each is closed, with whatever still hangs on it, when its test is over. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach } from 'vitest';

const servers: Server[] = [];
afterEach(closeServers);

/** Closes those of this test at once: nobody listens where they were. */
export function closeServers(): void {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
}

/** Starts a server on a free port of this machine; its base URL, without a slash at its end. */
export async function serve(handle: (incoming: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`;
}
