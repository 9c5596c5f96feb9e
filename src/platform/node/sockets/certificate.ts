/** A TLS certificate and its key, read again when the files change: renewal needs no restart. */
import { readFile } from "node:fs/promises";
import { createSecureContext } from "node:tls";
import { TacetError } from "../../../base/errors.ts";
import { watchTextFile } from "../files/watched-file.ts";

/** Cert and key are replaced one after the other. */
const SETTLE_MS = 200;

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

/** @throws TacetError io_failed, bad_argument if they are no certificate and key, or not of each other */
export async function readCertificate({ certFile, keyFile }: TlsFiles): Promise<CertificatePair> {
  const [cert, key] = await Promise.all([readText(certFile), readText(keyFile)]);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    // Its code is OpenSSL's; its message says nothing of the key, and is left out all the same.
    const code = (error as { code?: string }).code ?? "unreadable";
    throw new TacetError("bad_argument", `${certFile} and ${keyFile} are no pair for TLS (${code})`, {
      hint: "give a PEM certificate chain and its unencrypted PEM private key",
    });
  }
  return { cert, key };
}

/** Calls `onChange` with each good pair; of others `onError` hears, and the former stays. Returns the watch's end. */
export function watchCertificate(
  files: TlsFiles,
  onChange: (pair: CertificatePair) => void,
  onError: (error: unknown) => void,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => readCertificate(files).then(onChange).catch(onError), SETTLE_MS);
  };
  const ends = [files.certFile, files.keyFile].map((file) => watchTextFile(file, changed, onError));
  return () => {
    clearTimeout(timer);
    for (const end of ends) end();
  };
}

async function readText(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((cause: unknown) => {
    const code = (cause as { code?: string }).code ?? "unknown error";
    throw new TacetError("io_failed", `${path} cannot be read (${code})`, { cause });
  });
}
