/** Where a server of a command listens. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { TacetError } from "../../base/errors.ts";
import { errnoOf } from "../../platform/node.ts";

/**
 * @param port 0: any free one
 * @returns http://host:port
 * @throws TacetError io_failed if the address cannot be listened on
 */
export async function listenOn(server: Server, host: string, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => {
      reject(
        new TacetError("io_failed", `cannot listen on ${host}:${port} (${errnoOf(error)})`, {
          hint: "another program may use the port: choose another with --port",
        }),
      );
    });
    server.listen(port, host, () => resolve());
  });
  const { port: taken } = server.address() as AddressInfo;
  return `http://${host.includes(":") ? `[${host}]` : host}:${taken}`;
}
