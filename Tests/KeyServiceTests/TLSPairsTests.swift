import CertificateMaker
import Cryptography
import Daemon
import Files
import Keys
import TLS
import Testing

@testable import KeyService

#if canImport(Glibc)
import Glibc
#endif

#if canImport(Glibc)
import Glibc
#endif

@Suite struct TLSPairsTests {
    private let directory = KeyDirectory()
    private let files = KernelFileSystem()

    private func pairs(_ names: String...) -> TLSPairs {
        let settings = names.map {
            TLSConfiguration.Pair(name: $0, certificate: "\($0).pem", privateKey: "\($0).key")
        }
        return TLSPairs(settings) { directory.file($0) }
    }

    private func write(_ pair: TestPair, _ name: String) {
        directory.write(pair.certificate, to: "\(name).pem")
        directory.write(pair.privateKey, to: "\(name).key")
    }

    @Test func readsWhatIsThereAndNoticesARenewal() {
        var pairs = pairs("a", "b")
        func look() -> [KeyEvent] { pairs.look(files) }
        write(TestPair(["a.example", "*.sub.example"]), "a")
        write(TestPair(["b.example"], .rsa), "b")
        #expect(look().map(\.isTrouble) == [false, false])
        #expect(pairs.certificates.map(\.chain.names) == [["a.example", "*.sub.example"], ["b.example"]])
        #expect(pairs.certificates.map(\.kind) == [.ecdsaP256, .rsa])
        #expect(Set(pairs.keys.keys) == Set(pairs.certificates.map(\.key)))
        #expect(look().isEmpty)
        let before = pairs.certificates
        write(TestPair(["a.example"]), "a")
        #expect(look().map(\.isTrouble) == [false])
        #expect(pairs.certificates[0] != before[0])
        #expect(pairs.certificates[1] == before[1])
    }

    /// As certbot has it: the link stays, or is replaced by one that leads elsewhere, or what it leads to is written anew.
    @Test func linksAreFollowed() {
        var pairs = pairs("a")
        func look() -> [KeyEvent] { pairs.look(files) }
        func link(_ number: Int) {
            for kind in ["pem", "key"] {
                symlink("archive/\(number).\(kind)", "\(directory.path)/new")
                rename("\(directory.path)/new", "\(directory.path)/a.\(kind)")
            }
        }
        write(TestPair(["a.example"]), "archive/1")
        write(TestPair(["a.example"]), "archive/2")
        link(1)
        #expect(look().map(\.isTrouble) == [false])
        let first = pairs.certificates
        link(2)
        #expect(look().map(\.isTrouble) == [false])
        let second = pairs.certificates
        #expect(first != second)
        write(TestPair(["a.example"]), "archive/2")
        #expect(look().map(\.isTrouble) == [false])
        #expect(pairs.certificates != second)
    }

    /// In whatever order the files are replaced: what doesn't belong together isn't taken, and one line says so.
    @Test(arguments: [["pem", "key"], ["key", "pem"]]) func aHalfWrittenPairIsNotTaken(_ order: [String]) {
        var pairs = pairs("a")
        func look() -> [KeyEvent] { pairs.look(files) }
        write(TestPair(["a.example"]), "a")
        _ = look()
        let before = pairs.certificates
        let renewed = TestPair(["a.example"])
        let octets = ["pem": renewed.certificate, "key": renewed.privateKey]
        directory.write(octets[order[0]] ?? [], to: "a.\(order[0])")
        let events = look()
        #expect(events.map(\.isTrouble) == [true])
        #expect(events.first?.text.contains("does not belong to certificate") == true)
        #expect(events.first?.text.contains("the one before stays") == true)
        #expect(pairs.certificates == before)
        #expect(look().isEmpty)
        directory.write(octets[order[1]] ?? [], to: "a.\(order[1])")
        #expect(look().map(\.isTrouble) == [false])
        #expect(pairs.certificates != before)
    }

    /// As `martlet tls deploy` does it: at each moment the pair on disk can be used.
    @Test func aFileMayHaveTheOldKeyAndTheNewOne() {
        var pairs = pairs("a")
        func look() -> [KeyEvent] { pairs.look(files) }
        let (old, new) = (TestPair(["a.example"]), TestPair(["a.example"]))
        write(old, "a")
        _ = look()
        let first = pairs.certificates
        directory.write(new.privateKey + old.privateKey, to: "a.key")
        #expect(look().isEmpty)
        #expect(pairs.certificates == first)
        directory.write(new.certificate, to: "a.pem")
        #expect(look().map(\.isTrouble) == [false])
        #expect(pairs.certificates != first)
    }

    @Test(arguments: [
        ("", "cut short or damaged|there is no certificate"), ("nonsense", "there is no certificate"),
        ("cut", "cut short"), ("gone", "certificate"),
    ]) func whatIsNoCertificateIsNotTaken(_ kind: String, _ reason: String) {
        var pairs = pairs("a")
        func look() -> [KeyEvent] { pairs.look(files) }
        let pair = TestPair(["a.example"])
        write(pair, "a")
        _ = look()
        let before = pairs.certificates
        switch kind {
        case "gone": directory.remove(file: "a.pem")
        case "cut": directory.write(pair.certificate + pair.certificate.dropLast(40), to: "a.pem")
        default: directory.write(Array(kind.utf8), to: "a.pem")
        }
        let events = look()
        #expect(events.map(\.isTrouble) == [true])
        let text = events.first?.text ?? ""
        #expect(reason.split(separator: "|").contains { text.contains($0) }, "\(text)")
        #expect(pairs.certificates == before)
        write(pair, "a")
        #expect(look().map(\.isTrouble) == [false])
    }

    @Test func aResponseOfTheAuthorityIsStapledWhileItHolds() {
        var pairs = pairs("a")
        func look(after seconds: Int = 0) -> [KeyEvent] { pairs.look(files, at: time(nil) + seconds) }
        func stapled() -> [UInt8]? { pairs.certificates.first?.ocsp }
        let authority = TestPair(["authority.example"], role: .authority)
        let pair = TestPair(["a.example"], issuer: authority)
        write(pair, "a")
        #expect(look().map(\.isTrouble) == [false])
        #expect(stapled() == nil)
        directory.write([0x30, 0x03, 0x0a, 0x01, 0x00], to: "a.ocsp")
        let events = look()
        #expect(events.map(\.text) == ["OCSP response isn't stapled: it is no response of an OCSP server"])
        #expect(events.map(\.path) == ["\(directory.path)/a.ocsp"])
        #expect(look().isEmpty)
        #expect(stapled() == nil)
        let good = pair.response(issuer: authority, signer: authority, ends: 600)
        directory.write(good, to: "a.ocsp")
        #expect(look().isEmpty)
        #expect(stapled() == good)
        // While it stands there.
        #expect(look(after: 590).isEmpty)
        #expect(stapled() == good)
        #expect(look(after: 601).map(\.text) == ["OCSP response isn't stapled: its time is over"])
        #expect(look(after: 602).isEmpty)
        #expect(stapled() == nil)
        let next = pair.response(issuer: authority, signer: authority, begins: 500, ends: 1200)
        directory.write(next, to: "a.ocsp")
        #expect(look().map(\.text) == ["OCSP response isn't stapled: its time has not begun"])
        #expect(look(after: 602).isEmpty)
        #expect(stapled() == next)
        // It says nothing of another certificate.
        write(TestPair(["a.example"], issuer: authority), "a")
        #expect(look(after: 602).map(\.isTrouble) == [false, true])
        #expect(stapled() == nil)
        directory.remove(file: "a.ocsp")
        #expect(look(after: 602).isEmpty)
    }

    /// Clients refuse shorter ones, and OpenSSL doesn't serve them.
    @Test func aShortRSAKeyIsNotTaken() {
        var pairs = pairs("a")
        write(TestPair(["a.example"], .rsa, bits: 1024), "a")
        let events = pairs.look(files)
        #expect(events.map(\.isTrouble) == [true])
        #expect(events.first?.text.contains("its RSA key has 1024 bits, and clients want 2048 at least") == true)
        #expect(pairs.certificates.isEmpty)
    }

    /// The one before serves meanwhile. Without one, it's the clock that is doubted.
    @Test func aCertificateWhoseTimeHasNotBegun() {
        var pairs = pairs("a", "b")
        func look(after seconds: Int = 0) -> [KeyEvent] { pairs.look(files, at: time(nil) + seconds) }
        write(TestPair(["a.example"]), "a")
        write(TestPair(["b.example"], begins: 1), "b")
        let events = look()
        #expect(events.map(\.isTrouble) == [false, false, true])
        #expect(events.last?.text == "its time begins in 24 hours only: is the clock right?")
        #expect(pairs.certificates.count == 2)
        let before = pairs.certificates
        write(TestPair(["a.example"], begins: 1), "a")
        #expect(look().map(\.isTrouble) == [true])
        #expect(look().isEmpty)
        #expect(pairs.certificates == before)
        #expect(look(after: 86_401).map(\.isTrouble) == [false])
        #expect(pairs.certificates[0] != before[0])
    }
}
