import DNS
import DNSFixtures
import Daemon
import Testing
import ZoneTransfer

@testable import LocalZones

private let text = """
    $TTL 300
    @ SOA ns root 7 3600 900 604800 300
      NS ns
    ns A 192.0.2.1
    host A 192.0.2.2
    host A 192.0.2.3
    host TXT "one"
    alias CNAME host
    old DNAME new
    a.b A 192.0.2.4
    two NS ns1.two
    two NS ns2.two
    """

private func zone(_ text: String = text) throws -> Zone {
    let origin = try DomainName("dyn.test")
    let records = try MasterFile.parse(Array(text.utf8), file: "zone", origin: origin) { _ in
        .failure(MasterFileIncludeError(reason: "none"))
    }
    return try Zone(origin: origin, file: "zone", records: records)
}

private func evaluate(
    _ prerequisites: [String],
    _ updates: [String],
    rules: [String] = ["key k zone ANY"],
    on base: Zone? = nil
) throws -> UpdateOutcome {
    // By the wire, as it comes.
    let message = try updateMessage("dyn.test", prerequisites: prerequisites, updates: updates)
    let request = try UpdateRequest(try DNSMessage(decoding: message.encode()))
    return UpdateEvaluation.evaluate(
        request,
        on: try base ?? zone(),
        rules: try rules.map { try UpdateRule($0) },
        signer: try DomainName("k")
    )
}

extension UpdateOutcome {
    fileprivate var code: ResponseCode {
        if case .refused(let fault) = self { fault.code } else { .noError }
    }

    /// Lines of what went and came, SOA aside; nil where nothing has changed.
    fileprivate var lines: Set<String>? {
        guard case .changed(_, let difference) = self else { return nil }
        func line(_ sign: String, _ record: ResourceRecord) -> String {
            "\(sign) \(record.name) \(record.timeToLive) \(record.type) \(record.presentationData)"
        }
        return Set(difference.removed.map { line("-", $0) } + difference.added.map { line("+", $0) })
    }

    fileprivate var zone: Zone? {
        if case .changed(let zone, _) = self { zone } else { nil }
    }
}

private struct Prerequisite: Sendable, CustomTestStringConvertible {
    var lines: [String]
    var code: ResponseCode
    var testDescription: String { lines.joined(separator: "; ") }
}

private struct Change: Sendable, CustomTestStringConvertible {
    var lines: [String]
    /// nil where nothing changes.
    var result: Set<String>?
    var testDescription: String { lines.joined(separator: "; ") }
}

struct UpdateTests {
    @Test(arguments: [
        // RFC 2136 §2.4.1 to §2.4.5.
        Prerequisite(lines: ["host ANY A"], code: .noError),
        Prerequisite(lines: ["host ANY MX"], code: .noSuchSet),
        Prerequisite(lines: ["nobody ANY A"], code: .noSuchSet),
        Prerequisite(lines: ["host IN A 192.0.2.3", "host IN A 192.0.2.2"], code: .noError),
        Prerequisite(lines: ["host IN A 192.0.2.2"], code: .noSuchSet),
        Prerequisite(lines: ["host IN A 192.0.2.2", "host IN A 192.0.2.9"], code: .noSuchSet),
        Prerequisite(lines: ["alias IN CNAME HOST.dyn.test."], code: .noError),
        Prerequisite(lines: ["host NONE MX"], code: .noError),
        Prerequisite(lines: ["host NONE A"], code: .setExists),
        Prerequisite(lines: ["host ANY ANY"], code: .noError),
        Prerequisite(lines: ["HOST ANY ANY"], code: .noError),
        Prerequisite(lines: ["nobody ANY ANY"], code: .nameError),
        // Only other names lie below it.
        Prerequisite(lines: ["b ANY ANY"], code: .nameError),
        Prerequisite(lines: ["b NONE ANY"], code: .noError),
        Prerequisite(lines: ["nobody NONE ANY"], code: .noError),
        Prerequisite(lines: ["host NONE ANY"], code: .nameExists),
        Prerequisite(lines: ["host ANY A", "host NONE ANY"], code: .nameExists),
        // Forms: §3.2.
        Prerequisite(lines: ["x! ANY ANY"], code: .notZone),
        Prerequisite(lines: ["host 1 ANY A"], code: .formatError),
        Prerequisite(lines: ["host 1 IN A 192.0.2.2"], code: .formatError),
        Prerequisite(lines: ["host ANY A 192.0.2.2"], code: .formatError),
        Prerequisite(lines: ["host NONE A 192.0.2.2"], code: .formatError),
    ])
    private func prerequisites(_ prerequisite: Prerequisite) throws {
        #expect(try evaluate(prerequisite.lines, []).code == prerequisite.code)
        // With an update that changes something: all or nothing.
        let outcome = try evaluate(prerequisite.lines, ["new 60 IN A 192.0.2.7"])
        #expect(outcome.code == prerequisite.code)
        #expect((outcome.lines != nil) == (prerequisite.code == .noError))
    }

    @Test(arguments: [
        Change(lines: ["new 60 IN A 192.0.2.7"], result: ["+ new.dyn.test. 60 A 192.0.2.7"]),
        // The times to live of a set become one.
        Change(
            lines: ["ns 60 IN A 192.0.2.7"],
            result: [
                "- ns.dyn.test. 300 A 192.0.2.1", "+ ns.dyn.test. 60 A 192.0.2.1", "+ ns.dyn.test. 60 A 192.0.2.7",
            ]
        ),
        Change(lines: ["ns 300 IN A 192.0.2.1"], result: nil),
        Change(
            lines: ["ns 9 IN A 192.0.2.1"],
            result: ["- ns.dyn.test. 300 A 192.0.2.1", "+ ns.dyn.test. 9 A 192.0.2.1"]
        ),
        // An alias has nothing beside it.
        Change(lines: ["alias 60 IN A 192.0.2.7"], result: nil),
        Change(lines: ["host 60 IN CNAME ns.dyn.test."], result: nil),
        Change(
            lines: ["alias 300 IN CNAME ns.dyn.test."],
            result: ["- alias.dyn.test. 300 CNAME host.dyn.test.", "+ alias.dyn.test. 300 CNAME ns.dyn.test."]
        ),
        Change(
            lines: ["alias ANY CNAME", "alias 60 IN A 192.0.2.7"],
            result: ["- alias.dyn.test. 300 CNAME host.dyn.test.", "+ alias.dyn.test. 60 A 192.0.2.7"]
        ),
        Change(
            lines: ["old 300 IN DNAME other.test."],
            result: ["- old.dyn.test. 300 DNAME new.dyn.test.", "+ old.dyn.test. 300 DNAME other.test."]
        ),
        Change(lines: ["host ANY TXT"], result: ["- host.dyn.test. 300 TXT \"one\""]),
        Change(lines: ["host ANY MX"], result: nil),
        Change(lines: ["alias ANY ANY"], result: ["- alias.dyn.test. 300 CNAME host.dyn.test."]),
        Change(lines: ["nobody ANY ANY"], result: nil),
        Change(lines: ["host NONE A 192.0.2.2"], result: ["- host.dyn.test. 300 A 192.0.2.2"]),
        Change(lines: ["host NONE A 192.0.2.9"], result: nil),
        Change(lines: ["alias NONE CNAME HOST.DYN.TEST."], result: ["- alias.dyn.test. 300 CNAME host.dyn.test."]),
        // What the zone stands on isn't taken away.
        Change(lines: ["@ ANY ANY"], result: nil),
        Change(lines: ["@ ANY NS"], result: nil),
        Change(lines: ["@ ANY SOA"], result: nil),
        Change(lines: ["@ NONE NS ns.dyn.test."], result: nil),
        Change(lines: ["@ NONE SOA ns.dyn.test. root.dyn.test. 7 3600 900 604800 300"], result: nil),
        Change(
            lines: ["@ 300 IN NS ns9.dyn.test.", "@ NONE NS ns.dyn.test."],
            result: ["- dyn.test. 300 NS ns.dyn.test.", "+ dyn.test. 300 NS ns9.dyn.test."]
        ),
        Change(lines: ["two NONE NS ns1.two.dyn.test."], result: ["- two.dyn.test. 300 NS ns1.two.dyn.test."]),
        // What comes and goes again has never been.
        Change(lines: ["new 60 IN A 192.0.2.7", "new ANY ANY"], result: nil),
        Change(lines: ["host ANY TXT", "host 300 IN TXT one"], result: nil),
        Change(lines: [], result: nil),
    ])
    private func changes(_ change: Change) throws {
        let outcome = try evaluate([], change.lines)
        #expect(outcome.code == .noError)
        #expect(outcome.lines == change.result)
        guard case .changed(let latter, let difference) = outcome else { return }
        #expect(latter.serial == 8)
        let base = try zone()
        // The difference leads from one version to the other, and fits no other.
        let replayed = try base.applying(difference)
        #expect(Set(replayed.records) == Set(latter.records))
        #expect(replayed.recordCount == latter.recordCount)
        #expect(throws: VersionMismatch.self) { try latter.applying(difference) }
        #expect(Set(latter.difference(from: base).added) == Set(difference.added))
        #expect(Set(latter.difference(from: base).removed) == Set(difference.removed))
        // What was changed can be read from a file.
        let text = latter.records.map(\.masterFileLine).joined(separator: "\n")
        #expect(Set(try zone(text).records) == Set(latter.records))
    }

    @Test(arguments: [
        Prerequisite(lines: ["x! 60 IN A 192.0.2.7"], code: .notZone),
        Prerequisite(lines: ["new 60 IN A 192.0.2.7", "x! ANY ANY"], code: .notZone),
        Prerequisite(lines: ["host 60 ANY A"], code: .formatError),
        Prerequisite(lines: ["host ANY A 192.0.2.2"], code: .formatError),
        Prerequisite(lines: ["host 60 NONE A 192.0.2.2"], code: .formatError),
        Prerequisite(lines: ["host NONE ANY"], code: .formatError),
        // Nothing lies below a DNAME.
        Prerequisite(lines: ["x.old 60 IN A 192.0.2.7"], code: .refused),
        Prerequisite(lines: ["b 60 IN DNAME new.dyn.test."], code: .refused),
    ])
    private func wrongUpdates(_ update: Prerequisite) throws {
        #expect(try evaluate([], update.lines).code == update.code)
        // Also where something before it would have been changed.
        #expect(try evaluate([], ["more 60 IN A 192.0.2.7"] + update.lines).code == update.code)
    }

    @Test func serials() throws {
        func start(_ serial: UInt32) -> String {
            "@ 300 IN SOA ns.dyn.test. root.dyn.test. \(serial) 3600 900 604800 300"
        }
        #expect(try evaluate([], [start(20)]).zone?.serial == 20)
        #expect(try evaluate([], [start(20), "new 60 IN A 192.0.2.7"]).zone?.serial == 20)
        #expect(try evaluate([], [start(7)]).zone == nil)
        #expect(try evaluate([], [start(6)]).zone == nil)
        #expect(try evaluate([], [start(6), "new 60 IN A 192.0.2.7"]).zone?.serial == 8)
        // Half the circle away is no later.
        #expect(try evaluate([], [start(7 + 0x8000_0000)]).zone == nil)
        #expect(try evaluate([], [start(6 + 0x8000_0000)]).zone?.serial == 6 + 0x8000_0000)
        #expect(try evaluate([], ["host 300 IN SOA ns.dyn.test. root.dyn.test. 9 3600 900 604800 300"]).zone == nil)
        let last = try zone(text.replacing("root 7", with: "root 4294967295"))
        #expect(try evaluate([], ["new 60 IN A 192.0.2.7"], on: last).zone?.serial == 1)
    }

    @Test(arguments: [
        (["new 60 IN A 192.0.2.7"], ["key k zone A"], ResponseCode.noError),
        (["new 60 IN A 192.0.2.7"], ["key k zone TXT"], .refused),
        (["new 60 IN A 192.0.2.7"], ["key other zone"], .refused),
        (["new 60 IN A 192.0.2.7"], [], .refused),
        (["new 60 IN A 192.0.2.7"], ["key k subdomain new.dyn.test", "key other zone"], .noError),
        (["x.new 60 IN A 192.0.2.7"], ["key k name new.dyn.test"], .refused),
        (["new 60 IN A 192.0.2.7", "x 60 IN A 192.0.2.7"], ["key k name new.dyn.test"], .refused),
        (["two 60 IN NS ns3.dyn.test."], ["key k zone"], .refused),
        (["two 60 IN NS ns3.dyn.test."], ["key k zone NS"], .noError),
        // All of a name: each of its sets counts.
        (["host ANY ANY"], ["key k zone A"], .refused),
        (["host ANY ANY"], ["key k zone A TXT"], .noError),
        (["host ANY ANY"], ["key k zone A", "key k name host.dyn.test TXT"], .noError),
        (["nobody ANY ANY"], ["key k zone A"], .noError),
        (["nobody ANY ANY"], ["key k name host.dyn.test A"], .refused),
        (["host NONE A 192.0.2.2"], ["key k zone TXT"], .refused),
    ])
    func rules(updates: [String], rules: [String], code: ResponseCode) throws {
        #expect(try evaluate([], updates, rules: rules).code == code)
    }

    /// Names in data are the same in any case, texts aren't (RFC 2136 §1.1.1, RFC 4034 §6.2).
    @Test(arguments: [
        ("NS ns.x.", "NS NS.X.", true), ("NS ns.x.", "NS nt.x.", false), ("TXT \"a\"", "TXT \"A\"", false),
        ("MX 1 a.x.", "MX 1 A.x.", true), ("MX 1 a.x.", "MX 2 a.x.", false), ("SVCB 1 a.x.", "SVCB 1 A.x.", false),
        ("A 65.1.1.1", "A 97.1.1.1", false), ("NS a.x.", "NS aa.x.", false),
    ])
    func sameData(one: String, other: String, isSame: Bool) throws {
        let (one, other) = (try record("n. 60 IN \(one)"), try record("n. 60 IN \(other)"))
        #expect(one.hasData(of: other) == isSame && other.hasData(of: one) == isSame)
    }

    @Test func setsHaveALimit() throws {
        var current = try zone()
        for batch in 0..<5 {
            let lines = (0..<250).map { "big 60 IN A 10.0.\(batch).\($0)" }
            let outcome = try evaluate([], lines, on: current)
            #expect(outcome.code == (batch < 4 ? .noError : .refused))
            current = outcome.zone ?? current
        }
        #expect(current.nodes[try DomainName("big.dyn.test")]?[.a]?.count == 1000)
    }

    @Test func strangersLearnNothingFromPrerequisites() throws {
        #expect(try evaluate(["host NONE ANY"], [], rules: ["key other zone"]).code == .refused)
        #expect(try evaluate(["nobody NONE ANY"], [], rules: ["key other zone"]).code == .refused)
    }

    @Test func zoneSections() throws {
        var message = try updateMessage("dyn.test")
        message.questions[0].type = .a
        #expect(throws: UpdateFault.self) { try UpdateRequest(message) }
        message.questions = []
        #expect(throws: UpdateFault.self) { try UpdateRequest(message) }
        message = try updateMessage("dyn.test")
        message.questions[0].class = .chaos
        #expect(throws: UpdateFault(.notAuthoritative, "only class IN is served")) { try UpdateRequest(message) }
    }

    @Test func namesThatOnlyOthersLieBelowGoWithThem() throws {
        let latter = try #require(try evaluate([], ["a.b ANY ANY"]).zone)
        #expect(latter.nodes[try DomainName("b.dyn.test")] == nil)
        #expect(latter.answer(Question(name: try DomainName("b.dyn.test"), type: .a)).code == .nameError)
        #expect(try zone().answer(Question(name: try DomainName("b.dyn.test"), type: .a)).code == .noError)
        let again = try #require(try evaluate([], ["a.b 300 IN A 192.0.2.4"], on: latter).zone)
        #expect(again.nodes.hasNamesBelow(try DomainName("b.dyn.test")))
    }

    /// Random updates, the difference of each applied to the version before, and all of them taken back.
    @Test func randomUpdates() throws {
        var generator = SystemRandomNumberGenerator()
        var current = try zone()
        var differences: [ZoneDifference] = []
        for _ in 0..<300 {
            let lines = (0..<3).map { _ -> String in
                let name = ["a", "b", "a.b", "c.a.b", "host", "alias"].randomElement(using: &generator) ?? "a"
                let number = Int.random(in: 1...4, using: &generator)
                return [
                    "\(name) 300 IN A 192.0.2.\(number)", "\(name) 300 IN TXT t\(number)", "\(name) ANY ANY",
                    "\(name) ANY A", "\(name) NONE A 192.0.2.\(number)", "\(name) \(number) IN CNAME x.dyn.test.",
                ].randomElement(using: &generator) ?? "\(name) ANY ANY"
            }
            guard case .changed(let latter, let difference) = try evaluate([], lines, on: current) else { continue }
            #expect(Set(try current.applying(difference).records) == Set(latter.records))
            #expect(latter.recordCount == latter.records.count)
            differences.append(difference)
            current = latter
        }
        #expect(differences.count > 20)
        var history = ZoneHistory()
        for difference in differences { history.append(difference) }
        let found = try #require(history.differences(from: 7))
        #expect(found.count == differences.count)
        var replayed = try zone()
        for difference in found { replayed = try replayed.applying(difference) }
        #expect(Set(replayed.records) == Set(current.records))
        // Every name is there because of records at or below it.
        for (name, sets) in current.nodes.all where name != current.origin {
            #expect(!sets.isEmpty || current.nodes.hasNamesBelow(name))
        }
        #expect(history.differences(from: 6) == nil)
    }
}
