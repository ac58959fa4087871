/**
 * The documents of the demo: text files that the install itself put on this disk, namely the readmes, changelogs and
 * licences of the installed packages. More documents, when asked for, are made from their lines by a seeded generator.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** One document with the topic it is asked about. */
export interface Document {
  readonly id: string;
  readonly topic: string;
  readonly text: string;
}

const topics: readonly { readonly topic: string; readonly pattern: RegExp }[] = [
  { topic: 'readme', pattern: /^readme(\.(md|markdown|txt))?$/i },
  { topic: 'changelog', pattern: /^(changelog|changes|history)(\.(md|markdown|txt))?$/i },
  { topic: 'license', pattern: /^(licen[cs]e|copying)([-.].*)?$/i },
];

const questions: Readonly<Record<string, string>> = {
  readme: 'In one sentence, what does this package do, and for whom?',
  changelog: 'Which release broke compatibility last, and how must a user adapt?',
  license: 'Which licence is this, and what does it ask of somebody who redistributes the code?',
  generated: 'Summarise this text in three bullet points.',
};

/** Longer documents would not fit the context window of any model. */
const documentBytesMax = 900_000;
const packagesDepthMax = 6;

/** The folder that the installed packages are in: this package's own, or the one it is itself installed in. */
export async function dependencyFolder(): Promise<string> {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const candidates = [join(here, '..', 'node_modules'), join(here, '..', '..', 'node_modules'), join(here, '..', '..', '..')];
  for (const candidate of candidates) {
    if ((await stat(join(candidate, 'bullmq')).catch(() => undefined))?.isDirectory()) return candidate;
  }
  throw new Error(`no installed packages were found next to ${here}`);
}

/** Every readme, changelog and licence below a folder, in the order of their paths. */
export async function readDocuments(folder: string): Promise<readonly Document[]> {
  const found: Document[] = [];
  await collect(folder, '', 0, found);
  return found;
}

async function collect(root: string, relative: string, depth: number, found: Document[]): Promise<void> {
  if (depth > packagesDepthMax) return;
  const entries = await readdir(join(root, relative), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = relative === '' ? entry.name : `${relative}/${entry.name}`;
    if (entry.isDirectory()) {
      if (!entry.name.startsWith('.')) await collect(root, path, depth + 1, found);
      continue;
    }
    const topic = entry.isFile() ? topics.find(({ pattern }) => pattern.test(entry.name))?.topic : undefined;
    if (topic === undefined) continue;
    const bytes = await readFile(join(root, path));
    const text = bytes.toString('utf8');
    if (bytes.length > 0 && bytes.length <= documentBytesMax && !text.includes('\uFFFD')) found.push({ id: path, topic, text });
  }
}

/** Makes documents of about 2.5 KB out of the lines of real ones; the same seed makes the same documents. */
export function* generateDocuments(documents: readonly Document[], count: number, seed: number): Generator<Document> {
  const lines = documents.flatMap((document) => document.text.split('\n')).filter((line) => line.length > 20 && line.length < 200);
  let state = seed >>> 0;
  const random = (): number => {
    // mulberry32: enough to mix lines, the same on every machine.
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  for (let index = 0; index < count; index += 1) {
    const lengthMin = 400 + Math.floor(random() * random() * 10_000);
    let text = '';
    while (text.length < lengthMin) text += `${lines[Math.floor(random() * lines.length)] ?? ''}\n`;
    yield { id: `generated-${index}`, topic: 'generated', text };
  }
}

/** Documents as lines of a source in Plimsoll's own shape. Real ones are not urgent, licences least. */
export async function* linesOf(documents: Iterable<Document>, model: string): AsyncGenerator<Buffer> {
  for (const { id, topic, text } of documents) {
    const line = {
      id,
      topic,
      priority: topic === 'license' ? 'low' : 'normal',
      params: {
        model,
        max_tokens: 256,
        messages: [{ role: 'user', content: `${questions[topic] ?? questions['generated'] ?? ''}\n\n<document>\n${text}\n</document>` }],
      },
    };
    yield Buffer.from(`${JSON.stringify(line)}\n`);
  }
}
