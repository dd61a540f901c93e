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

    @Test func theResponseOfTheAuthorityIsReadWithTheCertificate() {
        var pairs = pairs("a")
        func look() -> [KeyEvent] { pairs.look(files) }
        write(TestPair(["a.example"]), "a")
        _ = look()
        #expect(pairs.certificates.first?.ocsp == nil)
        directory.write([1, 2, 3], to: "a.ocsp")
        #expect(look().count == 1)
        #expect(pairs.certificates.first?.ocsp == [1, 2, 3])
        directory.remove(file: "a.ocsp")
        _ = look()
        #expect(pairs.certificates.first?.ocsp == nil)
    }
}
