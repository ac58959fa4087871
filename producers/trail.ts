/**
 * Which objects a source was made of, as a chain of digests: 32 bytes, however many they are, that can be taken up again in
 * the middle. Two lists of objects with equal trails have the same addresses and etags in the same order.
 */
import { hash } from 'node:crypto';

/** An object in the state in which it was opened. */
export interface ObjectIdentity {
  readonly uri: string;
  readonly etag: string;
  /** Undefined where the bucket keeps no versions. */
  readonly version: string | undefined;
}

export interface Trail {
  readonly objects: number;
  /** sha256, hex, of the trail before, the address and the etag, one a line; empty before the first object. */
  readonly sha256: string;
}

export const emptyTrail: Trail = { objects: 0, sha256: '' };

/** The trail with one object more. An etag stands for the content: whoever replaces an object changes it. */
export function follow(trail: Trail, object: Pick<ObjectIdentity, 'uri' | 'etag'>): Trail {
  return { objects: trail.objects + 1, sha256: hash('sha256', `${trail.sha256}\n${object.uri}\n${object.etag}`, 'hex') };
}
