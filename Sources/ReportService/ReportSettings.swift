import Daemon
import NIOCore
import SMTP

/// What reportd is told by the configuration.
package struct ReportSettings: Sendable {
    /// Who reports; nil where nobody does.
    package var organization: String?
    /// Whom one may ask about reports.
    package var contact = ""
    /// The same, for people.
    package var extraContact: String?
    /// Where reports come from.
    package var from: MailAddress
    /// Our host's name, in Message-IDs.
    package var hostname: String
    /// After the end of a day, how long until its reports go out. Seconds.
    package var delay: Int
    /// Octets of all rows of a day.
    package var maximumRows: Int
    /// Reports about a day that go to addresses in one domain; 0 for no limit.
    package var maximumPerDestination: Int
    /// How long unsent reports are tried. Days.
    package var lifetime = 3

    /// What the configuration says of times and limits.
    package init(from: MailAddress, hostname: String, _ reports: ReportsConfiguration = ReportsConfiguration()) {
        self.from = from
        self.hostname = hostname
        contact = from.description
        delay = Int(reports.delay.nanoseconds / 1_000_000_000)
        maximumRows = reports.maximumRows
        maximumPerDestination = reports.maximumPerDestination
    }

    /// nil where reports are off.
    package init?(_ configuration: Configuration) {
        let reports = configuration.reports
        guard reports.isOn, let organization = reports.organization, let from = reports.from else { return nil }
        self.init(from: from, hostname: configuration.hostname, reports)
        self.organization = organization
        contact = reports.contact ?? from.description
        extraContact = reports.extraContact
    }

    /// The domain that reports.
    var submitter: String { from.domain }
}
