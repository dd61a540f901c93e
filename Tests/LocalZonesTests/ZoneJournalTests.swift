import DNS
import DNSFixtures
import Daemon
import Logging
import NIOConcurrencyHelpers
import Testing
import ZoneTransfer

@testable import LocalZones

#if canImport(Glibc)
import Glibc
#endif

private func difference(_ serial: Int, _ lines: [String] = []) throws -> ZoneDifference {
    func start(_ serial: Int) throws -> ResourceRecord {
        try record("dyn.test. 300 IN SOA ns.dyn.test. root.dyn.test. \(serial) 3600 900 604800 300")
    }
    let added = try lines.filter { $0.hasPrefix("+") }.map { try record(String($0.dropFirst())) }
    let removed = try lines.filter { $0.hasPrefix("-") }.map { try record(String($0.dropFirst())) }
    return ZoneDifference(former: try start(serial), removed: removed, latter: try start(serial + 1), added: added)
}

struct JournalFormatTests {
    private func sample() throws -> [[JournalItem]] {
        [
            [
                .file(serial: 1, FileContent(octets: 1 << 40, checksum: 7)),
                .difference(try difference(1, ["+a.dyn.test. 60 A 192.0.2.1", "+t.dyn.test. 60 TXT \"x\" \"y\""])),
            ],
            [.difference(try difference(2, ["-a.dyn.test. 60 A 192.0.2.1", "+m.dyn.test. 60 MX 10 mail.dyn.test."]))],
            [.difference(try difference(3)), .file(serial: 4, FileContent([1, 2, 3]))],
        ]
    }

    private func octets(_ frames: [[JournalItem]]) -> [UInt8] {
        frames.reduce(JournalFormat.heading) { $0 + JournalFormat.frame($1) }
    }

    @Test func thereAndBack() throws {
        let frames = try sample()
        let content = try JournalFormat.read(octets(frames))
        #expect(content.items == frames.flatMap { $0 })
        #expect(!content.isTorn)
        #expect(content.validOctets == octets(frames).count)
        #expect(try JournalFormat.read([]).items.isEmpty)
    }

    /// Wherever the end is cut off, all whole frames are there.
    @Test func tornEnds() throws {
        let frames = try sample()
        let whole = octets(frames)
        var ends = [JournalFormat.heading.count]
        for frame in frames { ends.append((ends.last ?? 0) + JournalFormat.frame(frame).count) }
        for count in whole.indices {
            let content = try JournalFormat.read(Array(whole[..<count]))
            let complete = ends.filter { $0 <= count }
            #expect(content.validOctets == complete.last ?? 0)
            #expect(content.items == frames.prefix(max(complete.count - 1, 0)).flatMap { $0 })
            #expect(content.isTorn == (count != 0 && count != content.validOctets))
        }
        // Octets that are there, but wrong, as after a power cut.
        for index in (ends[2] + 1)..<whole.count {
            var torn = whole
            torn[index] ^= 0xFF
            #expect(try JournalFormat.read(torn).validOctets == ends[2])
        }
        #expect(try JournalFormat.read(whole + [UInt8](repeating: 0, count: 4096)).validOctets == whole.count)
    }

    /// A wrong octet before frames that are right isn't what a kill leaves.
    @Test func damageInTheMiddle() throws {
        let whole = octets(try sample())
        let start = JournalFormat.heading.count
        for index in [start + 5, start + 9, start + 40] {
            var damaged = whole
            damaged[index] ^= 1
            #expect(throws: JournalFormat.Damage.self) { try JournalFormat.read(damaged) }
        }
        #expect(throws: JournalFormat.Damage.self) { try JournalFormat.read(Array("something else altogether\n".utf8)) }
    }

    /// A frame may be long: what comes behind it, and everybody was told of, isn't cut off with it.
    @Test func damageInALongFrame() throws {
        let lines = (0..<1000).map { "+h\($0).dyn.test. 60 TXT \"\(String(repeating: "x", count: 200))\"" }
        let long: [JournalItem] = [.difference(try difference(2, lines))]
        let head = octets([try sample()[0]])
        let last: [[[JournalItem]]] = [
            [[.difference(try difference(3))]], [[.file(serial: 3, FileContent([1]))]],
            [[.file(serial: 3, FileContent([1])), .difference(try difference(3, ["+a.dyn.test. 60 A 192.0.2.9"]))]],
        ]
        for frames in last {
            let whole = head + JournalFormat.frame(long) + frames.reduce([]) { $0 + JournalFormat.frame($1) }
            #expect(try !JournalFormat.read(whole).isTorn)
            // Its length, its checksum, its content.
            for place in [0, 4, 100_000] {
                var damaged = whole
                damaged[head.count + place] ^= 1
                #expect(throws: JournalFormat.Damage.self) { try JournalFormat.read(damaged) }
            }
        }
        // One that was never finished has nothing right behind it, whatever it holds.
        let torn = try JournalFormat.read(Array((head + JournalFormat.frame(long)).dropLast()))
        #expect(torn.isTorn && torn.validOctets == head.count)
    }

    @Test func nonsense() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<500 {
            let octets = (0..<Int.random(in: 0...64)).map { _ in UInt8.random(in: 0...255, using: &generator) }
            let content = try JournalFormat.read(JournalFormat.heading + octets)
            #expect(content.items.isEmpty)
        }
    }
}

/// A zone with its files in a directory of its own.
private final class Place {
    let directory: String
    let descriptor: CInt
    let clock = TestClock()
    private let origin: DomainName

    static let text = "$TTL 300\n@ SOA ns root 7 3600 900 604800 300\n NS ns\nns A 192.0.2.1\n"

    init() throws {
        var template = Array("/tmp/martlet-zone-XXXXXX".utf8CString)
        directory = try #require(mkdtemp(&template).map { String(cString: $0) })
        descriptor = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        origin = try DomainName("dyn.test")
        try write(Self.text)
    }

    deinit {
        for name in ["zone", "zone.edited", "dyn.test.journal"] { unlink("\(directory)/\(name)") }
        close(descriptor)
        rmdir(directory)
    }

    func write(_ text: String) throws { try TestFile.write(text, to: "\(directory)/zone") }

    func read(_ name: String = "zone") -> String? { WholeFile.read("\(directory)/\(name)", maximum: 1 << 24) }

    func journal() -> [UInt8]? { WholeFile.octets("\(directory)/dyn.test.journal", maximum: 1 << 24) }

    /// The zone as a daemon that is started finds it.
    func start() throws -> DynamicZone {
        var configuration = LocalZoneConfiguration(origin: origin, file: "dns/zone")
        configuration.update = [try UpdateRule("key k zone")]
        let file = ZoneFile(origin: origin, directory: descriptor, name: "zone", path: "dns/zone")
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let zone = DynamicZone(configuration, file: file, now: { [clock] in clock.now }, logger: quiet)
        _ = try zone.read()
        return zone
    }
}

extension DynamicZone {
    fileprivate func update(_ lines: [String]) throws {
        let current = try #require(zone)
        let request = try UpdateRequest(try updateMessage("dyn.test", updates: lines))
        let outcome = UpdateEvaluation.evaluate(request, on: current, rules: rules, signer: try DomainName("k"))
        guard case .changed(let latter, let difference) = outcome else {
            Issue.record("\(outcome)")
            return
        }
        try commit([difference], latter)
    }

    fileprivate func addresses(_ name: String) throws -> Set<String> {
        let question = Question(name: try DomainName("\(name).dyn.test"), type: .a)
        return Set(zone?.answer(question).answers.map(\.presentationData) ?? [])
    }
}

struct DynamicZoneTests {
    @Test func updatesAreThereAfterAKill() throws {
        let place = try Place()
        do {
            let zone = try place.start()
            try zone.update(["a 60 IN A 192.0.2.2"])
            try zone.update(["a 60 IN A 192.0.2.3", "b 60 IN A 192.0.2.4"])
        }
        for _ in 0..<2 {
            let zone = try place.start()
            #expect(zone.zone?.serial == 9)
            #expect(try zone.addresses("a") == ["192.0.2.2", "192.0.2.3"])
            #expect(zone.history.differences(from: 7)?.count == 2)
            #expect(zone.history.differences(from: 8)?.count == 1)
            #expect(zone.hasChanges)
            #expect(place.read() == Place.text)
        }
    }

    @Test func writtenBackToTheFile() throws {
        let place = try Place()
        let zone = try place.start()
        #expect(!zone.isDue)
        try zone.update(["a 60 IN A 192.0.2.2"])
        #expect(!zone.isDue)
        place.clock.advance(59)
        #expect(!zone.isDue)
        place.clock.advance(1)
        #expect(zone.isDue)
        try zone.write()
        #expect(!zone.isDue && !zone.hasChanges)
        #expect(place.read()?.contains("a.dyn.test.\t60\tIN\tA\t192.0.2.2\n") == true)
        // Our own change is none from outside.
        #expect(!zone.isOutdated)
        #expect(try !zone.read())
        // After that the journal is played on the new file, and what was before is known still.
        try zone.update(["a ANY A"])
        let again = try place.start()
        #expect(again.zone?.serial == 9)
        #expect(try again.addresses("a").isEmpty)
        #expect(again.history.differences(from: 7)?.count == 2)
        // Steady changes are written every 15 minutes.
        for step in 0..<30 {
            try again.update(["s 60 IN A 192.0.2.\(step + 1)"])
            place.clock.advance(30)
        }
        #expect(again.isDue)
    }

    /// A kill between any two steps of writing back.
    @Test func killedWhileWritingBack() throws {
        let place = try Place()
        let zone = try place.start()
        try zone.update(["a 60 IN A 192.0.2.2"])
        let before = try #require(place.read())
        try zone.write()
        let after = try #require(place.read())
        // The journal speaks of the new file, and the old one is there still.
        try place.write(before)
        #expect(try place.start().zone?.serial == 8)
        try place.start().update(["b 60 IN A 192.0.2.3"])
        #expect(try place.start().zone?.serial == 9)
        // The new file is there; the update that came after doesn't speak of the old one.
        try place.write(after)
        #expect(try place.start().addresses("b") == ["192.0.2.3"])
    }

    @Test func editsByHand() throws {
        let place = try Place()
        let edited = Place.text.replacing("root 7", with: "root 20") + "e A 192.0.2.9\n"
        do {
            // While it's served and nothing is unwritten.
            let zone = try place.start()
            try place.write(edited.replacing("root 20", with: "root 7"))
            #expect(throws: MasterFileError.self) { try zone.read() }
            #expect(zone.zone?.serial == 7)
            try place.write(edited)
            #expect(zone.isOutdated)
            #expect(try zone.read())
            #expect(zone.zone?.serial == 20)
            #expect(zone.history.differences(from: 7)?.first?.added.count == 1)
            try zone.update(["a 60 IN A 192.0.2.2"])
        }
        do {
            // While updates are only in the journal and nothing runs: the zone isn't served, and nothing is lost.
            try place.write(edited.replacing("root 20", with: "root 30"))
            let error = #expect(throws: MasterFileError.self) { try place.start() }
            #expect(error?.reason.contains("put the former file back") == true)
            try place.write(edited)
            #expect(try place.start().zone?.serial == 21)
        }
        do {
            // While updates are only in the journal and the zone is served.
            let zone = try place.start()
            try place.write(edited.replacing("root 20", with: "root 30"))
            #expect(throws: MasterFileError.self) { try zone.read() }
            #expect(zone.zone?.serial == 21)
            try zone.write()
            #expect(place.read("zone.edited")?.contains("root 30") == true)
            #expect(place.read()?.contains("192.0.2.2") == true)
        }
        // When all is written, an edit between two runs is taken with a later serial only.
        let written = try #require(place.read())
        try place.write(written + "f.dyn.test. 60 IN A 192.0.2.5\n")
        #expect(throws: MasterFileError.self) { try place.start() }
        try place.write(written.replacing(" 21 3600", with: " 22 3600") + "f.dyn.test. 60 IN A 192.0.2.5\n")
        let zone = try place.start()
        #expect(zone.zone?.serial == 22)
        try zone.update(["g 60 IN A 192.0.2.6"])
        #expect(try place.start().zone?.serial == 23)
        #expect(try place.start().history.differences(from: 21) == nil)
    }

    @Test func damagedJournals() throws {
        let place = try Place()
        do {
            let zone = try place.start()
            for step in 1...5 { try zone.update(["a\(step) 60 IN A 192.0.2.\(step)"]) }
        }
        let journal = try #require(place.journal())
        func put(_ octets: [UInt8]) {
            let file = Glibc.open("\(place.directory)/dyn.test.journal", O_WRONLY | O_TRUNC)
            octets.withUnsafeBytes { _ = Glibc.write(file, $0.baseAddress, $0.count) }
            close(file)
        }
        // The last update was never acknowledged, and its serial goes to the next.
        put(Array(journal.dropLast(3)))
        let zone = try place.start()
        #expect(zone.zone?.serial == 11)
        #expect(try zone.addresses("a5").isEmpty)
        try zone.update(["x 60 IN A 192.0.2.9"])
        #expect(try place.start().zone?.serial == 12)
        #expect(try place.start().addresses("x") == ["192.0.2.9"])
        var damaged = journal
        damaged[journal.count / 2] ^= 1
        put(damaged)
        #expect(throws: MasterFileError.self) { try place.start() }
        put(journal)
        #expect(try place.start().zone?.serial == 12)
    }

    /// The journal is replaced, and only the sync of the directory fails: what is appended from then on has a name.
    @Test func aDirectoryThatCannotBeSynced() throws {
        let place = try Place()
        let directory = Glibc.open(place.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(directory) }
        let journal = ZoneJournal(directory: directory, name: "dyn.test.journal")
        _ = try journal.open()
        try journal.append([.file(serial: 1, FileContent([1]))])
        // Through a descriptor with O_PATH files are reached, and nothing is synced.
        let blind = Glibc.open(place.directory, 0o10_000_000 | O_DIRECTORY | O_CLOEXEC)
        let former = dup(directory)
        #expect(dup2(blind, directory) == directory)
        #expect(throws: StateFileError.self) { try journal.replace(with: [.file(serial: 2, FileContent([2]))]) }
        #expect(throws: StateFileError.self) { try journal.append([.file(serial: 3, FileContent([3]))]) }
        #expect(dup2(former, directory) == directory)
        close(former)
        close(blind)
        try journal.append([.difference(try difference(4))])
        let found = try ZoneJournal(directory: place.descriptor, name: "dyn.test.journal").open()
        #expect(found.items == [.file(serial: 2, FileContent([2])), .difference(try difference(4))])
    }

    /// What couldn't be read at the next start isn't written.
    @Test func aJournalThatWouldGetTooLarge() throws {
        let place = try Place()
        let maximum = (1 << 16) + 4096
        let journal = ZoneJournal(directory: place.descriptor, name: "dyn.test.journal", maximumOctets: maximum)
        _ = try journal.open()
        let long = try difference(1, ["+t.dyn.test. 60 TXT \"\(String(repeating: "x", count: 250))\""])
        var count = 0
        while count < 100, (try? journal.append([.difference(long)])) != nil { count += 1 }
        #expect((5..<20).contains(count))
        // That the file has them is noted all the same, so that the zone can still be written.
        try journal.append([.file(serial: 2, FileContent([2]))])
        let again = ZoneJournal(directory: place.descriptor, name: "dyn.test.journal", maximumOctets: maximum)
        #expect(try again.open().items.count == count + 1)
    }

    /// An edit isn't taken while somebody is writing it: the rest would come under a serial that isn't new.
    @Test func aFileThatIsBeingWritten() throws {
        let place = try Place()
        let zone = try place.start()
        let edited = Place.text.replacing("root 7", with: "root 20") + "e A 192.0.2.9\n"
        #expect(!zone.isToBeRead())
        try place.write(String(edited.prefix(edited.count - 15)))
        #expect(!zone.isToBeRead())
        try place.write(edited)
        #expect(!zone.isToBeRead(), "it has just changed again")
        #expect(zone.isToBeRead())
        #expect(try zone.read())
        #expect(try zone.addresses("e") == ["192.0.2.9"])
        #expect(!zone.isToBeRead() && !zone.isOutdated)
    }

    @Test func journalsDoNotGrowForEver() throws {
        let place = try Place()
        let zone = try place.start()
        let long = (0..<200).map { "\"\(String(repeating: "x", count: 200))\($0)\"" }.joined(separator: " ")
        for step in 0..<80 {
            try zone.update(["big ANY TXT", "big 60 IN TXT \"\(step)\" \(long)"])
            if step % 20 == 19 { try zone.write() }
        }
        let octets = try #require(place.journal()).count
        #expect(octets < 3 * ZoneHistory.maximumOctets)
        #expect(zone.history.differences(from: 7) == nil)
        #expect((zone.history.differences(from: 86)?.count ?? 0) == 1)
        let again = try place.start()
        #expect(again.zone?.serial == 87)
        #expect(again.history.differences(from: 86)?.count == 1)
    }
}
