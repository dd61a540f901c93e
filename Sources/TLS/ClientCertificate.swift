import COpenSSL

/// A certificate by which a person logs in.
package struct ClientCertificate: Equatable, Sendable {
    /// SHA-256 of the certificate.
    package let fingerprint: [UInt8]
    /// The e-mail addresses among its alternative names (`rfc822Name`), as they are written there.
    package let addresses: [String]

    /// Octets of a certificate and count of certificates that are taken.
    package static let maximumOctets = 16 * 1024
    package static let maximumChain = 8

    /// The client's certificate and the chain behind it, in DER, where they were verified.
    static func verified(of ssl: OpaquePointer) -> [[UInt8]] {
        guard SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE, let certificate = SSL_get1_peer_certificate(ssl) else {
            return []
        }
        defer { X509_free(certificate) }
        guard SSL_get_verify_result(ssl) == Int(X509_V_OK), let first = der(certificate) else { return [] }
        var chain = [first]
        if let rest = SSL_get_peer_cert_chain(ssl) {
            for index in 0..<min(COpenSSL_chain_count(rest), Int32(maximumChain - 1)) {
                if let element = COpenSSL_chain_element(rest, index).flatMap(der) { chain.append(element) }
            }
        }
        return chain
    }

    private static func der(_ certificate: OpaquePointer) -> [UInt8]? {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509(certificate, &start)
        defer { COpenSSL_free(start) }
        guard let start, (1...maximumOctets).contains(Int(count)) else { return nil }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    fileprivate init(_ certificate: OpaquePointer) {
        fingerprint = CertificateChain.fingerprint(of: certificate)
        var addresses: [String] = []
        if let data = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) {
            let names = OpaquePointer(data)
            defer { COpenSSL_free_names(names) }
            for index in 0..<COpenSSL_names_count(names) {
                var length: Int32 = 0
                guard let octets = COpenSSL_mailbox_name(names, index, &length), length > 0 else { continue }
                let text = String(
                    validating: UnsafeBufferPointer(start: octets, count: Int(length)),
                    as: UTF8.self
                )
                if let text, !text.utf8.contains(0) { addresses.append(text) }
            }
        }
        ERR_clear_error()
        self.addresses = addresses
    }
}

extension ClientCertificate {
    /// Common names (CN) of a certificate's subject and issuer: the first of each; nil for none, or one that isn't text.
    ///
    /// - Parameter certificate: in DER.
    package static func commonNames(of certificate: [UInt8]) -> (subject: String?, issuer: String?) {
        defer { ERR_clear_error() }
        guard certificate.count <= maximumOctets, let decoded = CertificateChain.decoded(certificate) else {
            return (nil, nil)
        }
        defer { X509_free(decoded) }
        return (commonName(X509_get_subject_name(decoded)), commonName(X509_get_issuer_name(decoded)))
    }

    private static func commonName(_ name: OpaquePointer?) -> String? {
        let place = X509_NAME_get_index_by_NID(name, NID_commonName, -1)
        guard place >= 0, let value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, place)) else { return nil }
        var start: UnsafeMutablePointer<UInt8>?
        let count = ASN1_STRING_to_UTF8(&start, value)
        defer { COpenSSL_free(start) }
        guard let start, count > 0 else { return nil }
        let text = String(validating: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
        return text.flatMap { text in text.utf8.contains { $0 < 0x20 || $0 == 0x7F } ? nil : text }
    }
}

/// The authorities whose certificates people log in by.
package final class ClientAuthorities: @unchecked Sendable {
    // Unchecked: OpenSSL counts the store's references atomically, and it is not changed after init.
    private let store: OpaquePointer

    /// - Parameter pem: certificates, one behind the other.
    /// - Throws: `TLSError.configuration` where there is none in it.
    package init(pem: [UInt8]) throws(TLSError) {
        guard let store = X509_STORE_new() else { throw .configuration(TLSError.lastReason()) }
        self.store = store
        let count = pem.withUnsafeBytes { octets -> Int in
            guard let file = BIO_new_mem_buf(octets.baseAddress, Int32(clamping: octets.count)) else { return 0 }
            defer { BIO_free(file) }
            var count = 0
            while let certificate = PEM_read_bio_X509(file, nil, { _, _, _, _ in 0 }, nil) {
                if X509_STORE_add_cert(store, certificate) == 1 { count += 1 }
                X509_free(certificate)
            }
            return count
        }
        ERR_clear_error()
        guard count > 0 else { throw .configuration("there is no certificate in it") }
    }

    deinit { X509_STORE_free(store) }

    /// The first certificate of a chain, where the chain leads to one of the authorities now and the certificate is good for
    /// clients.
    ///
    /// - Parameter chain: in DER.
    package func verified(_ chain: [[UInt8]]) -> ClientCertificate? {
        defer { ERR_clear_error() }
        guard let first = chain.first, (1...ClientCertificate.maximumChain).contains(chain.count),
            chain.allSatisfy({ $0.count <= ClientCertificate.maximumOctets }),
            let certificate = CertificateChain.decoded(first), let others = COpenSSL_new_chain()
        else { return nil }
        defer {
            X509_free(certificate)
            COpenSSL_free_chain(others)
        }
        for octets in chain.dropFirst() {
            guard let other = CertificateChain.decoded(octets) else { return nil }
            if COpenSSL_chain_push(others, other) <= 0 { X509_free(other) }
        }
        guard let context = X509_STORE_CTX_new() else { return nil }
        defer { X509_STORE_CTX_free(context) }
        guard X509_STORE_CTX_init(context, store, certificate, others) == 1,
            X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT) == 1, X509_verify_cert(context) == 1
        else { return nil }
        return ClientCertificate(certificate)
    }
}
