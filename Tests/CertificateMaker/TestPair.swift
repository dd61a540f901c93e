import COpenSSL
import Cryptography

#if canImport(Glibc)
import Glibc
#endif

/// A new key and a certificate for it, by default a self-signed one.
package struct TestPair: Sendable {
    package let certificate: [UInt8]
    package let privateKey: [UInt8]

    /// What a certificate is for.
    package enum Role: Sendable {
        case server
        /// Issues others.
        case authority
        /// Signs responses of OCSP for its issuer (RFC 6960 §4.2.2.2).
        case responder
    }

    /// - Parameters:
    ///   - names: of hosts.
    ///   - bits: of an RSA key.
    ///   - begins: days from now.
    ///   - days: until it ends; negative for one that has ended.
    ///   - issuer: who has signed it; nil for itself. Its certificate stands behind this one.
    package init(
        _ names: [String],
        _ kind: KeyKind = .ecdsaP256,
        bits: Int = 2048,
        begins: Int = -60,
        days: Int = 30,
        role: Role = .server,
        issuer: TestPair? = nil
    ) {
        guard let key = PrivateKey.generate(kind, bits: bits) else { fatalError("OpenSSL makes no key") }
        privateKey = key.pem
        guard let certificate = X509_new() else { fatalError("OpenSSL has no memory") }
        defer { X509_free(certificate) }
        let own = Self.key(key.pem)
        defer { EVP_PKEY_free(own) }
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1 ... .max))
        X509_gmtime_adj(X509_getm_notBefore(certificate), 86_400 * begins)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 86_400 * days + 60)
        X509_set_pubkey(certificate, own)
        let name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, names.first ?? "nobody", -1, -1, 0)
        if !names.isEmpty {
            Self.add(NID_subject_alt_name, names.map { "DNS:\($0)" }.joined(separator: ","), to: certificate)
        }
        switch role {
        case .server: break
        case .authority: Self.add(NID_basic_constraints, "critical,CA:TRUE", to: certificate)
        case .responder: Self.add(NID_ext_key_usage, "OCSPSigning", to: certificate)
        }
        // Of a kind that hashes by itself, OpenSSL wants no digest.
        var digest = kind == .ed25519 || kind == .ed448 ? nil : EVP_sha256()
        if let issuer {
            let (above, signer) = (Self.certificate(issuer.certificate), Self.key(issuer.privateKey))
            defer {
                X509_free(above)
                EVP_PKEY_free(signer)
            }
            digest = EVP_sha256()
            X509_set_issuer_name(certificate, X509_get_subject_name(above))
            X509_sign(certificate, signer, digest)
        } else {
            X509_set_issuer_name(certificate, name)
            X509_sign(certificate, own, digest)
        }
        self.certificate = Self.pem { PEM_write_bio_X509($0, certificate) } + (issuer?.certificate ?? [])
    }

    /// What an OCSP server may say of a certificate.
    package enum Status: Sendable {
        case good, revoked, unknown
        /// `tryLater`: it says nothing of it.
        case noAnswer
    }

    /// A response of an OCSP server about this certificate, in DER.
    ///
    /// - Parameters:
    ///   - issuer: whose name the response has the certificate by.
    ///   - signer: who signs it.
    ///   - begins: when it begins to hold, in seconds from now.
    ///   - ends: when it ends; nil where it doesn't say.
    package func response(
        _ status: Status = .good,
        issuer: TestPair,
        signer: TestPair,
        begins: Int = -60,
        ends: Int? = 3600
    ) -> [UInt8] {
        let (own, above, certificate) = (
            Self.certificate(certificate), Self.certificate(issuer.certificate), Self.certificate(signer.certificate)
        )
        let key = Self.key(signer.privateKey)
        let (start, end) = (
            ASN1_GENERALIZEDTIME_adj(nil, time(nil), 0, begins),
            ends.map { ASN1_GENERALIZEDTIME_adj(nil, time(nil), 0, $0) }
        )
        guard let basic = OCSP_BASICRESP_new(), let name = OCSP_cert_to_id(EVP_sha1(), own, above) else {
            fatalError("OpenSSL has no memory")
        }
        let verdict =
            switch status {
            case .good, .noAnswer: V_OCSP_CERTSTATUS_GOOD
            case .revoked: V_OCSP_CERTSTATUS_REVOKED
            case .unknown: V_OCSP_CERTSTATUS_UNKNOWN
            }
        OCSP_basic_add1_status(basic, name, verdict, 0, start, start, end ?? nil)
        OCSP_basic_sign(basic, certificate, key, EVP_sha256(), nil, 0)
        let answer =
            status == .noAnswer
            ? OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, nil)
            : OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic)
        defer {
            for one in [own, above, certificate] { X509_free(one) }
            EVP_PKEY_free(key)
            ASN1_GENERALIZEDTIME_free(start)
            ASN1_GENERALIZEDTIME_free(end ?? nil)
            OCSP_CERTID_free(name)
            OCSP_BASICRESP_free(basic)
            OCSP_RESPONSE_free(answer)
        }
        var octets: UnsafeMutablePointer<UInt8>?
        let count = i2d_OCSP_RESPONSE(answer, &octets)
        defer { COpenSSL_free(octets) }
        guard let octets, count > 0 else { fatalError("OpenSSL makes no response") }
        return Array(UnsafeBufferPointer(start: octets, count: Int(count)))
    }

    private static func add(_ extension: Int32, _ value: String, to certificate: OpaquePointer) {
        guard let made = X509V3_EXT_conf_nid(nil, nil, `extension`, value) else { fatalError("no such extension") }
        X509_add_ext(certificate, made, -1)
        X509_EXTENSION_free(made)
    }

    private static func pem(_ write: (OpaquePointer) -> Int32) -> [UInt8] {
        guard let file = BIO_new(BIO_s_mem()) else { fatalError("OpenSSL has no memory") }
        defer { BIO_free(file) }
        _ = write(file)
        var start: UnsafeMutablePointer<CChar>?
        let count = COpenSSL_mem_data(file, &start)
        guard let start, count > 0 else { fatalError("OpenSSL writes no certificate") }
        return UnsafeBufferPointer(start: start, count: count).map { UInt8(bitPattern: $0) }
    }

    private static func read<Value>(_ pem: [UInt8], _ read: (OpaquePointer?) -> Value?) -> Value {
        let value = pem.withUnsafeBytes { octets in
            let file = BIO_new_mem_buf(octets.baseAddress, Int32(clamping: octets.count))
            defer { BIO_free(file) }
            return read(file)
        }
        guard let value else { fatalError("OpenSSL doesn't read what it has written") }
        return value
    }

    private static func key(_ pem: [UInt8]) -> OpaquePointer {
        read(pem) { PEM_read_bio_PrivateKey($0, nil, nil, nil) }
    }

    private static func certificate(_ pem: [UInt8]) -> OpaquePointer {
        read(pem) { PEM_read_bio_X509($0, nil, nil, nil) }
    }
}
