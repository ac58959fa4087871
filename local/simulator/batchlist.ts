import { show } from './batches.ts';
import { strangeForm } from './batchform.ts';
import { jsonReply, refusalReply, type Exchange, type Reply } from './exchange.ts';
import type { BatchRecord } from './records.ts';
import { invalidRequest } from './refusal.ts';
import type { World } from './world.ts';

/** The list of a workspace, page by page (claude-batches.md 1.3), and the faults of its form. */

const SECOND_US = 1_000_000;

/** `GET /v1/messages/batches`: newest first, `after_id` towards older entries, `before_id` towards newer ones. */
export async function listBatches(world: World, exchange: Exchange): Promise<Reply> {
  const { faults } = exchange;
  const query = exchange.url.searchParams;
  const limit = Number(query.get('limit') ?? '20');
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    const bound = limit > 1000 ? 'less than or equal to 1000' : 'greater than or equal to 1';
    return refusalReply(invalidRequest(`limit: Input should be ${bound}`), exchange.requestId);
  }
  const all = await visibleBatches(world, exchange);
  const short = faults.peek('list_short');
  const after = query.get('after_id');
  const page = pageOf(all.map((record) => record.id), short === undefined ? limit : Math.min(limit, short.rows ?? 1), after, query.get('before_id'));
  if (page === undefined) {
    return refusalReply(invalidRequest('after_id and before_id: only one may be given, and it has to name an existing batch'), exchange.requestId);
  }
  if (page.hasMore && page.to - page.from < limit) {
    faults.take('list_short');
  }
  const cut = faults.take('list_cut');
  const shown = cut === undefined ? page : cutAt(page, cut.rows ?? 1, after !== null);
  const records = all.slice(shown.from, shown.to);
  const form = strangeForm(exchange, records);
  return jsonReply(200, {
    data: records.map((record) => form(show(world, exchange, record), record)),
    has_more: shown.hasMore,
    first_id: records[0]?.id ?? null,
    last_id: records.at(-1)?.id ?? null,
  });
}

async function visibleBatches(world: World, exchange: Exchange): Promise<BatchRecord[]> {
  const { faults, caller } = exchange;
  const lag = faults.peek('list_lag');
  const youngestUs = world.clock.nowMs() * 1000 - (lag?.seconds ?? 0) * SECOND_US;
  const mine = world.records.all().filter((record) => record.workspaceId === caller.workspaceId && record.visibleUs <= world.clock.nowMs() * 1000);
  const shown = mine.filter((record) => record.createdUs <= youngestUs || lag === undefined);
  if (shown.length < mine.length) {
    faults.take('list_lag');
  }
  const current = await Promise.all(shown.map((record) => world.runner.current(record)));
  const second = (record: BatchRecord): number => Math.floor(record.createdUs / SECOND_US);
  const isTurned = faults.peek('list_reordered') !== undefined && new Set(current.map(second)).size < current.length && faults.take('list_reordered') !== undefined;
  const within = isTurned ? -1 : 1;
  return current.sort((a, b) => second(b) - second(a) || within * (b.createdUs - a.createdUs || b.sequence - a.sequence));
}

interface Page {
  readonly from: number;
  readonly to: number;
  readonly hasMore: boolean;
}

/** The stretch of `ids` (newest first) that a page shows; undefined for a cursor that names nothing. */
function pageOf(ids: readonly string[], limit: number, after: string | null, before: string | null): Page | undefined {
  if (before !== null && after !== null) {
    return undefined;
  }
  if (before !== null) {
    const to = ids.indexOf(before);
    const from = Math.max(0, to - limit);
    return to < 0 ? undefined : { from, to, hasMore: from > 0 };
  }
  const at = after === null ? 0 : ids.indexOf(after) + 1;
  const to = Math.min(ids.length, at + limit);
  return after !== null && at === 0 ? undefined : { from: at, to, hasMore: to < ids.length };
}

/** The first page ends early and promises more; the page behind holds nothing. */
function cutAt(page: Page, rows: number, isBehind: boolean): Page {
  return isBehind ? { from: 0, to: 0, hasMore: false } : { from: page.from, to: Math.min(page.to, page.from + rows), hasMore: true };
}
