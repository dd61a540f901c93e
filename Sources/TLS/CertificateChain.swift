import COpenSSL

/// A server's certificate and those of the authorities behind it, as a file holds them.
package struct CertificateChain: Equatable, Sendable {
    /// In DER, the server's first.
    package let certificates: [[UInt8]]
    /// The names of hosts that the first one is for (RFC 6125 §6.4), in lower case; a `*` may be the first label.
    package let names: [String]
    /// The first one's key, SubjectPublicKeyInfo in DER.
    package let subjectPublicKeyInfo: [UInt8]
    /// SHA-256 of the first one.
    package let fingerprint: [UInt8]
    /// When the first one begins and ends. Seconds since 1970.
    package let begins: Int
    package let expires: Int

    /// Octets of a file, and certificates in it.
    package static let maximumOctets = 256 * 1024
    package static let maximumCount = 16

    /// Reads PEM, certificates one behind the other; what else is in it is passed over.
    ///
    /// - Throws: `TLSError.configuration`.
    package init(pem octets: [UInt8]) throws(TLSError) {
        guard octets.count <= Self.maximumOctets else { throw .configuration("it is too large for a chain") }
        var found: [OpaquePointer] = []
        defer { for certificate in found { X509_free(certificate) } }
        octets.withUnsafeBytes { octets in
            guard let file = BIO_new_mem_buf(octets.baseAddress, Int32(clamping: octets.count)) else { return }
            defer { BIO_free(file) }
            while found.count <= Self.maximumCount,
                let certificate = PEM_read_bio_X509(file, nil, { _, _, _, _ in 0 }, nil)
            {
                found.append(certificate)
            }
        }
        let end = ERR_peek_last_error()
        ERR_clear_error()
        guard let first = found.first else { throw .configuration("there is no certificate in it") }
        guard found.count <= Self.maximumCount else { throw .configuration("it holds too many certificates") }
        // The end of the file is the one error that belongs there: a file that is cut short has another.
        guard COpenSSL_is_end_of_pem(end) == 1 else {
            throw .configuration("a certificate in it is cut short or damaged")
        }
        certificates = found.compactMap { Self.der { i2d_X509($0, $1) }($0) }
        guard certificates.count == found.count, let key = X509_get0_pubkey(first) else {
            ERR_clear_error()
            throw .configuration("OpenSSL can't use the certificate's key")
        }
        subjectPublicKeyInfo = Self.der { i2d_PUBKEY($0, $1) }(key) ?? []
        fingerprint = Self.fingerprint(of: first)
        names = Self.names(of: first)
        var (start, ends) = (tm(), tm())
        guard ASN1_TIME_to_tm(X509_get0_notBefore(first), &start) == 1,
            ASN1_TIME_to_tm(X509_get0_notAfter(first), &ends) == 1
        else { throw .configuration("the certificate has no beginning or no end") }
        begins = timegm(&start)
        expires = timegm(&ends)
    }

    /// OpenSSL's form of a certificate in DER, which the caller frees; nil for anything else.
    static func decoded(_ octets: [UInt8]) -> OpaquePointer? {
        octets.withUnsafeBufferPointer { buffer in
            var position = buffer.baseAddress
            guard let certificate = d2i_X509(nil, &position, buffer.count) else { return nil }
            guard position == buffer.baseAddress.map({ $0 + buffer.count }) else {
                X509_free(certificate)
                return nil
            }
            return certificate
        }
    }

    /// As a file holds it.
    package var pem: [UInt8] {
        guard let file = BIO_new(BIO_s_mem()) else { return [] }
        defer { BIO_free(file) }
        for octets in certificates {
            guard let certificate = Self.decoded(octets) else { continue }
            defer { X509_free(certificate) }
            _ = PEM_write_bio_X509(file, certificate)
        }
        var start: UnsafeMutablePointer<CChar>?
        let count = COpenSSL_mem_data(file, &start)
        guard let start, count > 0 else { return [] }
        return UnsafeBufferPointer(start: start, count: count).map { UInt8(bitPattern: $0) }
    }

    private static func der(
        _ encode: @escaping (OpaquePointer, UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>) -> Int32
    ) -> (OpaquePointer) -> [UInt8]? {
        { object in
            var start: UnsafeMutablePointer<UInt8>?
            let count = encode(object, &start)
            defer { COpenSSL_free(start) }
            guard let start, count > 0 else { return nil }
            return Array(UnsafeBufferPointer(start: start, count: Int(count)))
        }
    }

    /// The alternative names; the common name counts where there are none.
    private static func names(of certificate: OpaquePointer) -> [String] {
        var names: [String] = []
        func add(_ octets: UnsafePointer<UInt8>?, _ count: Int32) {
            guard let octets, (1...253).contains(count) else { return }
            let name = UnsafeBufferPointer(start: octets, count: Int(count))
            guard name.allSatisfy({ (0x21...0x7e).contains($0) }) else { return }
            names.append(String(decoding: name, as: UTF8.self).lowercased())
        }
        if let data = X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) {
            let list = OpaquePointer(data)
            defer { COpenSSL_free_names(list) }
            for index in 0..<COpenSSL_names_count(list) {
                var count: Int32 = 0
                add(COpenSSL_host_name(list, index, &count), count)
            }
        }
        if names.isEmpty {
            var count: Int32 = 0
            add(COpenSSL_common_name(certificate, &count), count)
        }
        ERR_clear_error()
        return names
    }

    /// SHA-256 of the public key with its algorithm, as a TLSA record of selector 1 has it.
    static func keyFingerprint(of certificate: OpaquePointer) -> [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &start)
        defer { COpenSSL_free(start) }
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        guard let start, count > 0, EVP_Digest(start, Int(count), &digest, &length, EVP_sha256(), nil) == 1 else {
            return []
        }
        return Array(digest.prefix(Int(length)))
    }

    static func fingerprint(of certificate: OpaquePointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: CUnsignedInt = 0
        guard X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 else { return [] }
        return Array(digest.prefix(Int(length)))
    }
}
