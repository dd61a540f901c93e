import CertificateMaker
import Testing

@testable import TLS

#if canImport(Glibc)
import Glibc
#endif

@Suite struct OCSPResponseTests {
    private static let authority = TestPair(["authority.example"], role: .authority)
    private static let server = TestPair(["mail.example"], issuer: authority)

    private func fault(_ octets: [UInt8], _ pair: TestPair = Self.server, at moment: Int = time(nil)) -> String? {
        do throws(OCSPResponse.Fault) {
            let chain: CertificateChain
            do { chain = try CertificateChain(pem: pair.certificate) } catch { return "\(error)" }
            return try OCSPResponse(octets, for: chain).fault(at: moment)?.description
        } catch {
            return error.description
        }
    }

    @Test func whatTheIssuerHasSignedIsGood() {
        let (server, authority) = (Self.server, Self.authority)
        #expect(fault(server.response(issuer: authority, signer: authority)) == nil)
        // Or somebody whom it lets.
        let responder = TestPair(["ocsp.example"], role: .responder, issuer: authority)
        #expect(fault(server.response(issuer: authority, signer: responder)) == nil)
        // A certificate that has signed itself is its own issuer.
        let own = TestPair(["self.example"])
        #expect(fault(own.response(issuer: own, signer: own), own) == nil)
        // So is one behind which another issuer's authority doesn't stand: that may be an intermediate.
        let intermediate = TestPair(["intermediate.example"], role: .authority, issuer: authority)
        let below = TestPair(["below.example"], issuer: intermediate)
        #expect(fault(below.response(issuer: intermediate, signer: intermediate), below) == nil)
    }

    @Test func whatSomebodyElseHasSignedIsNot() {
        let (server, authority) = (Self.server, Self.authority)
        let unsigned = "the certificate's issuer has not signed it"
        let stranger = TestPair(["authority.example"], role: .authority)
        #expect(fault(server.response(issuer: authority, signer: stranger)) == unsigned)
        // A certificate of the same authority lets nobody sign responses.
        let neighbour = TestPair(["neighbour.example"], issuer: authority)
        #expect(fault(server.response(issuer: authority, signer: neighbour)) == unsigned)
        let foreign = TestPair(["ocsp.example"], role: .responder, issuer: stranger)
        #expect(fault(server.response(issuer: authority, signer: foreign)) == unsigned)
        // What is signed begins behind some forty octets.
        let whole = server.response(issuer: authority, signer: authority)
        for place in 60..<100 {
            var changed = whole
            changed[place] ^= 1
            #expect(fault(changed) != nil, "octet \(place)")
        }
    }

    @Test func itMustBeAboutThisCertificate() {
        let (server, authority) = (Self.server, Self.authority)
        let neighbour = TestPair(["neighbour.example"], issuer: authority)
        let other = "it is about another certificate"
        #expect(fault(neighbour.response(issuer: authority, signer: authority)) == other)
        let stranger = TestPair(["authority.example"], role: .authority)
        #expect(fault(server.response(issuer: stranger, signer: stranger)) == other)
    }

    @Test func whatIsNotGoodIsNotStapled() {
        let (server, authority) = (Self.server, Self.authority)
        func said(_ status: TestPair.Status) -> String? {
            fault(server.response(status, issuer: authority, signer: authority))
        }
        #expect(said(.revoked) == "the authority has revoked the certificate")
        #expect(said(.unknown) == "the authority does not know the certificate")
        #expect(said(.noAnswer) == "the authority has not answered (trylater)")
        #expect(fault([]) == "it is no response of an OCSP server")
        #expect(fault([0x30, 0x03, 0x0a, 0x01, 0x00]) == "it is no response of an OCSP server")
        let whole = server.response(issuer: authority, signer: authority)
        #expect(fault(whole + [0]) == "it is no response of an OCSP server")
        for count in stride(from: 1, to: whole.count, by: 7) { #expect(fault(Array(whole.prefix(count))) != nil) }
    }

    @Test func itHoldsForATime() {
        let (server, authority) = (Self.server, Self.authority)
        let now = time(nil)
        let response = server.response(issuer: authority, signer: authority, begins: -60, ends: 600)
        #expect(fault(response, at: now + 590) == nil)
        #expect(fault(response, at: now + 602) == "its time is over")
        #expect(fault(response, at: now - 3600) == "its time has not begun")
        let endless = server.response(issuer: authority, signer: authority, ends: nil)
        #expect(fault(endless) == "it does not say how long it holds")
    }

    @Test func withoutItsIssuerNobodyCanTell() throws {
        let (server, authority) = (Self.server, Self.authority)
        let chain = try CertificateChain(
            pem: Array(server.certificate.prefix(server.certificate.count - authority.certificate.count))
        )
        #expect(chain.certificates.count == 1)
        #expect(throws: OCSPResponse.Fault(description: "the issuer's certificate doesn't stand behind the server's")) {
            try OCSPResponse(server.response(issuer: authority, signer: authority), for: chain)
        }
    }
}
