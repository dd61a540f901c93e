import COpenSSL
import Cryptography

/// A new key and a self-signed certificate for it.
package struct TestPair: Sendable {
    package let certificate: [UInt8]
    package let privateKey: [UInt8]

    /// - Parameters:
    ///   - names: of hosts.
    ///   - days: until it ends; negative for one that has ended.
    package init(_ names: [String], _ kind: KeyKind = .ecdsaP256, days: Int = 30) {
        guard let key = PrivateKey.generate(kind) else { fatalError("OpenSSL makes no key") }
        privateKey = key.pem
        certificate = Self.certificate(names, key.pem, kind, days)
    }

    private static func certificate(_ names: [String], _ pem: [UInt8], _ kind: KeyKind, _ days: Int) -> [UInt8] {
        guard let key = read(pem), let certificate = X509_new(), let file = BIO_new(BIO_s_mem()) else {
            fatalError("OpenSSL has no memory")
        }
        defer {
            EVP_PKEY_free(key)
            X509_free(certificate)
            BIO_free(file)
        }
        X509_set_version(certificate, 2)
        ASN1_INTEGER_set(X509_get_serialNumber(certificate), Int.random(in: 1 ... .max))
        X509_gmtime_adj(X509_getm_notBefore(certificate), -86_400 * 60)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 86_400 * days + 60)
        X509_set_pubkey(certificate, key)
        let name = X509_get_subject_name(certificate)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, names.first ?? "nobody", -1, -1, 0)
        X509_set_issuer_name(certificate, name)
        let list = names.map { "DNS:\($0)" }.joined(separator: ",")
        if !names.isEmpty, let alternatives = X509V3_EXT_conf_nid(nil, nil, NID_subject_alt_name, list) {
            X509_add_ext(certificate, alternatives, -1)
            X509_EXTENSION_free(alternatives)
        }
        X509_sign(certificate, key, kind == .ed25519 || kind == .ed448 ? nil : EVP_sha256())
        PEM_write_bio_X509(file, certificate)
        var start: UnsafeMutablePointer<CChar>?
        let count = COpenSSL_mem_data(file, &start)
        guard let start, count > 0 else { fatalError("OpenSSL writes no certificate") }
        return UnsafeBufferPointer(start: start, count: count).map { UInt8(bitPattern: $0) }
    }

    private static func read(_ pem: [UInt8]) -> OpaquePointer? {
        pem.withUnsafeBytes { octets in
            let file = BIO_new_mem_buf(octets.baseAddress, Int32(clamping: octets.count))
            defer { BIO_free(file) }
            return PEM_read_bio_PrivateKey(file, nil, nil, nil)
        }
    }
}
