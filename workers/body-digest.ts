/**
 * By what a body is known. It is sealed with two digests: the sha256 is what the lake records for ever and an audit proves;
 * the GMAC tells whether what is about to leave is what was sealed, at a tenth of the cost of a sha256, which is most of what
 * making a body costs. A body of which only the sha256 is known (the ledger was rebuilt from the lake) is compared by that.
 */
import { createCipheriv, createHash, type CipherGCM, type Hash } from 'node:crypto';

/** Which digests are made: to seal it all, else the one that it is compared by. */
export type DigestKind = 'all' | 'gmac' | 'sha256';

/** What was found of a body, once it has been made. */
export interface BodyDigest {
  readonly sizeBytes: number;
  /** Of all bytes, 128 bits in hex; undefined: it was not asked for. */
  readonly gmac: string | undefined;
  /** Of all bytes, hex; undefined: it was not asked for. */
  readonly sha256: string | undefined;
}

/** What is recorded of a body that was sealed. */
export interface SealedBody {
  readonly sizeBytes: number;
  /** Undefined: its archive was restored from the lake. */
  readonly gmac: string | undefined;
  readonly sha256: string;
}

/** The digest that a body is compared by. */
export function kindOf(sealed: SealedBody): DigestKind {
  return sealed.gmac === undefined ? 'sha256' : 'gmac';
}

/** Whether a body is the one that was sealed. */
export function isSealed(found: BodyDigest, sealed: SealedBody): boolean {
  const isSame = sealed.gmac === undefined ? found.sha256 === sealed.sha256 : found.gmac === sealed.gmac;
  return isSame && found.sizeBytes === sealed.sizeBytes;
}

/** Digests a body block by block; how it is cut into blocks makes no difference. */
export class BodyHash {
  readonly #sha256: Hash | undefined;
  readonly #gmac: CipherGCM | undefined;
  #sizeBytes = 0;

  constructor(kind: DigestKind) {
    this.#sha256 = kind === 'gmac' ? undefined : createHash('sha256');
    this.#gmac = kind === 'sha256' ? undefined : emptyGmac();
  }

  update(block: Uint8Array): void {
    this.#sizeBytes += block.length;
    this.#sha256?.update(block);
    this.#gmac?.setAAD(block);
  }

  /** Of everything so far; can be called once. */
  digest(): BodyDigest {
    this.#gmac?.final();
    return { sizeBytes: this.#sizeBytes, gmac: this.#gmac?.getAuthTag().toString('hex'), sha256: this.#sha256?.digest('hex') };
  }
}

/**
 * GCM with nothing to encrypt (NIST SP 800-38D, 3). The key is no secret: what has to be found is damage and mistakes, not
 * malice. Authenticated data may come in any number of parts (OpenSSL, EVP_EncryptInit(3), "AEAD interface").
 */
function emptyGmac(): CipherGCM {
  return createCipheriv('aes-128-gcm', Buffer.alloc(16), Buffer.alloc(12));
}
