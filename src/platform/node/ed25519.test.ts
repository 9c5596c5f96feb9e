import { describe, expect, it } from "vitest";
import { portableSignEd25519 } from "../../bundle/key-signature.ts";
import { holds, publicKeyOf } from "../../bundle/signature.ts";
import { nodePublicKeyEd25519, nodeSignEd25519 } from "./ed25519.ts";

describe("nodePublicKeyEd25519", () => {
  it("is the portable one's", () => {
    for (let i = 0; i < 20; i++) {
      const key = crypto.getRandomValues(new Uint8Array(32));
      expect(nodePublicKeyEd25519(key)).toEqual(publicKeyOf(key));
    }
  });
});

describe("nodeSignEd25519", () => {
  it("signs as the portable one does, under each key anew", () => {
    for (let i = 0; i < 20; i++) {
      const key = crypto.getRandomValues(new Uint8Array(32));
      for (const length of [0, 1, 200]) {
        const message = crypto.getRandomValues(new Uint8Array(length));
        const signature = nodeSignEd25519(message, key);
        expect(signature).toEqual(portableSignEd25519(message, key));
        expect(holds(publicKeyOf(key), signature, message)).toBe(true);
      }
    }
  });

  it("signs as RFC 8032, section 7.1, test 2 says", () => {
    const hex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
    const key = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    expect(nodeSignEd25519(Uint8Array.of(0x72), key)).toEqual(
      hex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da" +
          "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
      ),
    );
  });
});
