import { describe, expect, it } from "vitest";
import { FairSemaphore } from "./fair-semaphore.ts";

const never = new AbortController().signal;

describe("FairSemaphore", () => {
  it("goes round: who has had a turn waits behind all others", async () => {
    const turns = new FairSemaphore(2);
    const order: string[] = [];
    const work = async (name: string): Promise<void> => {
      for (let turn = 0; turn < 3; turn++) {
        const over = await turns.take(never);
        order.push(name);
        await new Promise((resolve) => setTimeout(resolve, 1));
        over();
      }
    };
    await Promise.all(["a", "b", "c", "d"].map(work));
    for (let round = 0; round < 3; round++) {
      expect(order.slice(4 * round, 4 * round + 4).sort()).toEqual(["a", "b", "c", "d"]);
    }
    expect(turns).toMatchObject({ running: 0, waiting: 0 });
  });

  it("turns away who comes beyond the limit, and forgets who leaves", async () => {
    const turns = new FairSemaphore(1, 1);
    const over = await turns.take(never);
    const leaving = new AbortController();
    const left = turns.take(leaving.signal);
    await expect(turns.take(never)).rejects.toMatchObject({ code: "too_many_requests" });
    leaving.abort();
    await expect(left).rejects.toMatchObject({ code: "aborted" });
    const next = turns.take(never);
    over();
    over(); // a second time changes nothing
    (await next)();
    expect(turns).toMatchObject({ running: 0, waiting: 0 });
    await expect(turns.take(leaving.signal)).rejects.toMatchObject({ code: "aborted" });
  });
});
