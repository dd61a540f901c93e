import COpenSSL

/// A key that signatures are made with.
package final class PrivateKey: @unchecked Sendable {
    // Unchecked: OpenSSL's key is not changed after init.
    package let kind: KeyKind
    private let key: OpaquePointer

    private init?(_ key: OpaquePointer?) {
        guard let key else {
            ERR_clear_error()
            return nil
        }
        guard let kind = KeyKind(key) else {
            EVP_PKEY_free(key)
            return nil
        }
        self.kind = kind
        self.key = key
    }

    deinit { EVP_PKEY_free(key) }

    /// A new key; `bits` is the size of an RSA modulus. Nil if OpenSSL refuses.
    package static func generate(_ kind: KeyKind, bits: Int = 2048) -> PrivateKey? {
        switch kind {
        case .rsa: PrivateKey(COpenSSL_generate_rsa(bits))
        case .ecdsaP256: PrivateKey(COpenSSL_generate_ec("P-256"))
        case .ecdsaP384: PrivateKey(COpenSSL_generate_ec("P-384"))
        case .ed25519: PrivateKey(COpenSSL_generate("ED25519"))
        case .ed448: PrivateKey(COpenSSL_generate("ED448"))
        }
    }

    /// A key from a PEM file's octets, PKCS #8 (RFC 5958) or the older form of RSA and EC keys. Nil if there is none.
    package convenience init?(pem octets: [UInt8]) {
        // The octets aren't copied, and must stay until they are read.
        let key = octets.withUnsafeBytes { octets in
            let file = BIO_new_mem_buf(octets.baseAddress, Int32(clamping: octets.count))
            defer { BIO_free(file) }
            // A key that wants a pass phrase is refused instead of asking a terminal for it.
            return PEM_read_bio_PrivateKey(file, nil, { _, _, _, _ in 0 }, nil)
        }
        self.init(key)
    }

    /// All keys in a PEM file's octets, in their order; what else is in it is passed over.
    package static func all(inPEM octets: [UInt8]) -> [PrivateKey] {
        octets.withUnsafeBytes { octets in
            guard let file = BIO_new_mem_buf(octets.baseAddress, Int32(clamping: octets.count)) else { return [] }
            defer {
                BIO_free(file)
                ERR_clear_error()
            }
            var keys: [PrivateKey] = []
            while keys.count < 16, let key = PEM_read_bio_PrivateKey(file, nil, { _, _, _, _ in 0 }, nil) {
                if let usable = PrivateKey(key) { keys.append(usable) }
            }
            return keys
        }
    }

    /// An EdDSA key from its secret octets (RFC 8032). Nil if the length is wrong or the kind is another.
    package convenience init?(_ kind: KeyKind, raw octets: [UInt8]) {
        guard kind == .ed25519 || kind == .ed448 else { return nil }
        let type = kind == .ed25519 ? EVP_PKEY_ED25519 : EVP_PKEY_ED448
        self.init(EVP_PKEY_new_raw_private_key(type, nil, octets, octets.count))
    }

    /// The key as PEM, PKCS #8 without a pass phrase.
    package var pem: [UInt8] {
        let file = BIO_new(BIO_s_mem())
        defer { BIO_free(file) }
        guard PEM_write_bio_PrivateKey(file, key, nil, nil, 0, nil, nil) == 1 else { return [] }
        var start: UnsafeMutablePointer<CChar>?
        let count = COpenSSL_mem_data(file, &start)
        guard let start, count > 0 else { return [] }
        return UnsafeBufferPointer(start: start, count: count).map { UInt8(bitPattern: $0) }
    }

    /// The key that verifies what this one signs.
    package var publicKey: PublicKey? {
        EVP_PKEY_up_ref(key)
        return PublicKey(kind: kind, adopting: key)
    }

    /// The signature of a message, in the form that `PublicKey.isValid` takes. Empty if OpenSSL refuses.
    package func signature(of message: [UInt8], using function: HashFunction?) -> [UInt8] {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var count = 0
        guard EVP_DigestSignInit(context, nil, function?.algorithm, nil, key) == 1,
            EVP_DigestSign(context, nil, &count, message, message.count) == 1
        else {
            ERR_clear_error()
            return []
        }
        var signature = [UInt8](repeating: 0, count: count)
        guard EVP_DigestSign(context, &signature, &count, message, message.count) == 1 else {
            ERR_clear_error()
            return []
        }
        signature.removeLast(signature.count - count)
        guard let width = kind.coordinateWidth else { return signature }
        return DER.pair(signature, width: width) ?? []
    }

    /// How RSA wraps a digest.
    package enum Padding: Sendable { case pkcs1, pss }

    /// The signature of a digest that is at hand, as TLS and DKIM have it: RSA by PKCS #1 v1.5 (RFC 8017 section 8.2) or PSS with
    /// a salt as long as the digest (section 8.1), ECDSA in DER (RFC 3279 section 2.2.3). Nil for EdDSA, which hashes by itself,
    /// for a digest of another length, and where OpenSSL refuses.
    package func signature(ofDigest digest: [UInt8], by function: HashFunction, padding: Padding = .pkcs1) -> [UInt8]? {
        guard kind != .ed25519, kind != .ed448, digest.count == function.digestLength,
            let context = EVP_PKEY_CTX_new(key, nil)
        else { return nil }
        defer {
            EVP_PKEY_CTX_free(context)
            ERR_clear_error()
        }
        guard EVP_PKEY_sign_init(context) == 1, EVP_PKEY_CTX_set_signature_md(context, function.algorithm) == 1 else {
            return nil
        }
        if kind == .rsa {
            let wrapping = padding == .pss ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING
            guard EVP_PKEY_CTX_set_rsa_padding(context, wrapping) == 1,
                padding != .pss || EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1
            else { return nil }
        }
        var count = 0
        guard EVP_PKEY_sign(context, nil, &count, digest, digest.count) == 1 else { return nil }
        var signature = [UInt8](repeating: 0, count: count)
        guard EVP_PKEY_sign(context, &signature, &count, digest, digest.count) == 1 else { return nil }
        signature.removeLast(signature.count - count)
        return signature
    }
}
