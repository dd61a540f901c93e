import COpenSSL

/// What an authority's OCSP server says of a server's certificate (RFC 6960): that it's good, for a time.
package struct OCSPResponse: Equatable, Sendable {
    /// DER.
    package let octets: [UInt8]
    /// When it begins to hold, and when it ends. Seconds since 1970.
    package let begins: Int
    package let ends: Int

    /// How much clocks may differ. Seconds.
    private static let tolerance = 300

    /// Why one is of no use, for people.
    package struct Fault: Error, Equatable, CustomStringConvertible {
        package let description: String

        package init(description: String) { self.description = description }
    }

    /// - Parameters:
    ///   - octets: DER.
    ///   - chain: it must be about the first certificate, and the second one's owner, or whom that lets sign responses, must have
    ///     signed it.
    package init(_ octets: [UInt8], for chain: CertificateChain) throws(Fault) {
        guard let certificate = chain.certificates.first.flatMap(CertificateChain.decoded) else {
            throw Fault(description: "the certificate can't be read")
        }
        defer { X509_free(certificate) }
        // One that has signed itself is its own issuer.
        let issuer =
            chain.certificates.dropFirst().first.flatMap(CertificateChain.decoded)
            ?? CertificateChain.decoded(chain.certificates[0])
        guard let issuer, X509_check_issued(issuer, certificate) == X509_V_OK else {
            X509_free(issuer)
            ERR_clear_error()
            throw Fault(description: "the issuer's certificate doesn't stand behind the server's")
        }
        defer { X509_free(issuer) }
        var (detail, start, end, hasEnd): (Int32, tm, tm, Bool) = (0, tm(), tm(), false)
        let verdict = COpenSSL_ocsp_read(octets, octets.count, certificate, issuer, &detail, &start, &end, &hasEnd)
        switch verdict {
        case COpenSSL_ocsp_good: break
        case COpenSSL_ocsp_refused:
            let text = OCSP_response_status_str(Int(detail)).map { String(cString: $0) } ?? "\(detail)"
            throw Fault(description: "the authority has not answered (\(text))")
        case COpenSSL_ocsp_other: throw Fault(description: "it is about another certificate")
        case COpenSSL_ocsp_unsigned: throw Fault(description: "the certificate's issuer has not signed it")
        case COpenSSL_ocsp_revoked: throw Fault(description: "the authority has revoked the certificate")
        case COpenSSL_ocsp_unknown: throw Fault(description: "the authority does not know the certificate")
        default: throw Fault(description: "it is no response of an OCSP server")
        }
        guard hasEnd else { throw Fault(description: "it does not say how long it holds") }
        self.octets = octets
        begins = timegm(&start)
        ends = timegm(&end)
    }

    /// What is wrong with it at a time, in seconds since 1970.
    package func fault(at time: Int) -> Fault? {
        if time >= ends { return Fault(description: "its time is over") }
        if time + Self.tolerance < begins { return Fault(description: "its time has not begun") }
        return nil
    }
}
