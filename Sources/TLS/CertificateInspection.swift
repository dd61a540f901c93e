import COpenSSL

/// What an administrator wants to know of a certificate file.
package struct CertificateInspection: Sendable {
    /// Days until the first certificate in the file expires; negative when it has.
    package let daysLeft: Int
    /// SHA-256 of the first certificate.
    package let fingerprint: [UInt8]
    private let names: @Sendable (String) -> Bool

    /// Whether the certificate is for that host name.
    package func isFor(_ hostname: String) -> Bool { names(hostname) }

    /// - Throws: `TLSError.configuration` when there is no certificate in the file.
    package init(file: String) throws(TLSError) {
        guard let bio = BIO_new_file(file, "r") else {
            throw .configuration("certificate \(file): \(TLSError.reason(loading: file))")
        }
        defer { BIO_free(bio) }
        guard let certificate = PEM_read_bio_X509(bio, nil, nil, nil) else {
            throw .configuration("certificate \(file): \(TLSError.reason(loading: file))")
        }
        let holder = CertificateHolder(certificate)
        fingerprint = Self.fingerprint(of: certificate)
        var days: CInt = 0
        var seconds: CInt = 0
        _ = ASN1_TIME_diff(&days, &seconds, nil, X509_get0_notAfter(certificate))
        daysLeft = days == 0 && seconds < 0 ? -1 : Int(days)
        names = { X509_check_host(holder.certificate, $0, $0.utf8.count, 0, nil) == 1 }
    }
}

extension CertificateInspection {
    static func fingerprint(of certificate: OpaquePointer) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: CUnsignedInt = 0
        guard X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 else { return [] }
        return Array(digest.prefix(Int(length)))
    }
}

/// Frees the certificate with its last user.
private final class CertificateHolder: @unchecked Sendable {
    // Unchecked: only read after init.
    let certificate: OpaquePointer
    init(_ certificate: OpaquePointer) { self.certificate = certificate }
    deinit { X509_free(certificate) }
}
