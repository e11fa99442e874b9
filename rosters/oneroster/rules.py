"""The catalogue of rules: what can be wrong with a delivery, said for the people who have to mend it.

``OR-CSV`` rules come from the standard, from what receivers do, and from our own caution; ``PR`` rules from the
requirements of a product (`rosters.oneroster.products`), which may also change the severity of any other rule;
``OR-ID`` rules are our own, about ids that are kept although the SIS has others now (`rosters.recognising`),
``OR-SCOPE`` rules too, about deliveries that speak for some schools or terms only (`rosters.scope`),
``OR-REST`` rules too, about pages pulled from a server (`rosters.reading.pages`).
Codes are public: districts quote them, so they are never renumbered. A finding puts its particulars after the title.
docs/rules.md lists the same in one table.
"""

from __future__ import annotations

from collections.abc import Mapping

from rosters.oneroster.spec import Rule

PACKAGE = (
    Rule(
        "OR-CSV-001", "fatal",
        "The upload is not a zip file that can be opened.",
        "Export the zip again and send it complete, without a password. A file of another kind does not become a zip "
        "by its name.",
        effect="package",
    ),
    Rule(
        "OR-CSV-002", "info",
        "Some files in the zip are stored without compression.",
        "Nothing to do: they were read. If the zip is large, switch on normal zip compression in the export.",
    ),
    Rule(
        "OR-CSV-003", "error",
        "The CSV files lie inside a folder of the zip instead of at its top.",
        "Select the files themselves, not the folder around them, and zip them again, or have the export do so.",
    ),
    Rule(
        "OR-CSV-004", "fatal",
        "The zip names a file in an unsafe way: a path outside the zip, a link, or one path twice.",
        "Make a fresh zip that holds only the OneRoster CSV files. If your SIS made this one, tell its support.",
        effect="package",
    ),
    Rule(
        "OR-CSV-005", "fatal",
        "The zip is larger, holds more files, or expands far more than a roster can.",
        "Check that only the roster files were zipped. If your district really is this large, ask us to raise the "
        "limit.",
        effect="package",
    ),
    Rule(
        "OR-CSV-006", "error",
        "The zip holds the same file more than once, perhaps spelled with other capital letters.",
        "Delete the old copy, keep the one that is right, and make the zip again.",
        effect="package",
    ),
    Rule(
        "OR-CSV-007", "error",
        "A file name is spelled with the wrong capital letters.",
        "Rename the file exactly as the standard spells it, for example academicSessions.csv, in the export settings.",
    ),
    Rule(
        "OR-CSV-008", "warning",
        "The zip holds a file that this version of OneRoster does not know; it was not read.",
        "Leave it out of the zip. If it carries data that you meant to send, check its name and the version in "
        "manifest.csv.",
    ),
    Rule(
        "OR-CSV-009", "fatal",
        "There is no manifest.csv, the list that says what is inside.",
        "Switch on the manifest in your SIS's OneRoster 1.1 or 1.2 export, or copy it from our template.",
        effect="package",
    ),
    Rule(
        "OR-CSV-010", "error",
        "Without its manifest, it is unclear which version of OneRoster these files are.",
        "If the export is set to OneRoster 1.0, change it to 1.1 or 1.2; otherwise add the missing manifest.csv.",
    ),
    Rule(
        "OR-CSV-011", "error",
        "The zip holds another zip or a spreadsheet where CSV files should be.",
        "Export CSV files straight from the SIS and zip them once; do not save them from Excel as .xlsx.",
    ),
    Rule(
        "OR-CSV-012", "info",
        "The package holds only a manifest that calls every file absent: it says that nothing changed.",
        "Nothing to do if you meant that. Otherwise check why the export left its files out; nobody was removed.",
    ),
    Rule(
        "OR-CSV-013", "error",
        "The set is incomplete: a file is here, but a file that it depends on is missing.",
        "Include the missing file in the export. A full set must be complete in itself.",
        effect="package",
    ),
    Rule(
        "OR-CSV-014", "error",
        "A file that only exists in OneRoster 1.2 came in a set that says it is 1.1.",
        "Set oneroster.version to 1.2 if the whole export is 1.2; otherwise switch this file off in the export.",
    ),
    Rule(
        "OR-CSV-015", "error",
        "A file without which a roster cannot be loaded is missing, or cannot be used.",
        "Switch the missing file on in the export. Sessions, courses, classes, users, enrollments and orgs are needed, "
        "in 1.2 also roles.",
        effect="package",
    ),
    Rule(
        "OR-CSV-016", "warning",
        "The zip's name or folder is not the one that was agreed for this district.",
        "Set the agreed name and path in the export job, or ask us to change what was agreed.",
    ),
)  # fmt: skip

MANIFEST = (
    Rule(
        "OR-CSV-020", "fatal",
        'The first row of manifest.csv is not "propertyName,value".',
        "Correct that row in the export's settings or copy it from our template; capital letters count.",
        effect="package",
    ),
    Rule(
        "OR-CSV-021", "error",
        "A row of manifest.csv does not have exactly two cells.",
        "Write one property and one value in each row, with no further commas.",
    ),
    Rule(
        "OR-CSV-022", "error",
        "manifest.csv lists a property twice, or repeats its first row among the data.",
        "Keep one row for each property and delete the rest.",
    ),
    Rule(
        "OR-CSV-023", "error",
        "manifest.csv lists a property that this version of OneRoster does not know.",
        "Correct the spelling, capital letters included, or delete the row.",
    ),
    Rule(
        "OR-CSV-024", "error",
        "manifest.version is not 1.0.",
        "Write 1.0. If it says 1, a spreadsheet has shortened it: edit the file with a text editor.",
    ),
    Rule(
        "OR-CSV-025", "fatal",
        "manifest.csv does not say a OneRoster version that we can read.",
        "Set oneroster.version to 1.1 or 1.2, whichever your export writes.",
        effect="package",
    ),
    Rule(
        "OR-CSV-026", "error",
        "manifest.csv leaves out a file that it has to mention.",
        "Add a row for every file of the standard, with the value absent for those that you do not send.",
    ),
    Rule(
        "OR-CSV-027", "error",
        "manifest.csv describes a file with a word other than absent, bulk or delta.",
        "Use one of these three words in small letters: absent if not sent, bulk for everything, delta for changes "
        "only.",
    ),
    Rule(
        "OR-CSV-028", "error",
        "manifest.csv announces a file that is not in the zip.",
        "Add the file, or change its value in the manifest to absent. What we have of it stays until then.",
    ),
    Rule(
        "OR-CSV-029", "error",
        "manifest.csv calls a file absent, but it is in the zip.",
        "Change its value to bulk or delta, or take the file out of the zip.",
    ),
    Rule(
        "OR-CSV-030", "error",
        "The zip holds a file that manifest.csv does not mention.",
        "Add the file's row to the manifest, with bulk or delta.",
    ),
    Rule(
        "OR-CSV-031", "warning",
        "manifest.csv and the file disagree on whether it holds everything or only changes.",
        "Correct the manifest: bulk when status and dateLastModified are empty in every row, delta when both are "
        "filled.",
    ),
    Rule(
        "OR-CSV-032", "error",
        "manifest.csv names one version of OneRoster, but the columns are those of the other.",
        "Set the version in the manifest to the one that the export really writes.",
    ),
    Rule(
        "OR-CSV-033", "info",
        "Some files hold everything, others only changes.",
        "Nothing to do: this is allowed. If a product wants one way for the whole set, your contact with us will say "
        "so.",
    ),
    Rule(
        "OR-CSV-034", "info",
        "manifest.csv does not say which system made the export, or names another one than last time.",
        "Fill source.systemName and source.systemCode. If you have changed your SIS, tell us before the next delivery.",
    ),
)  # fmt: skip

SYNTAX = (
    Rule(
        "OR-CSV-040", "fatal",
        "The file is not written in UTF-8, so names with accents cannot be read with certainty.",
        "Choose UTF-8 in the export's settings. If that is impossible, ask us to read your files in their own "
        "encoding.",
        effect="package",
    ),
    Rule(
        "OR-CSV-041", "info",
        "The file starts with an invisible mark (BOM) that some programs write.",
        "Nothing to do: it was skipped.",
    ),
    Rule(
        "OR-CSV-042", "fatal",
        "The file is written in UTF-16 or UTF-32, or contains binary zeros.",
        "Choose UTF-8 in the export's settings; \"Unicode text\" saved by a spreadsheet is the usual cause.",
        effect="package",
    ),
    Rule(
        "OR-CSV-043", "error",
        "A row has a quotation mark in a place where CSV does not allow one, so its cells cannot be told apart.",
        "Put the whole cell in quotation marks and double those inside it, or have the SIS's support correct the "
        "export.",
        effect="row",
    ),
    Rule(
        "OR-CSV-044", "error",
        "A cell contains a line break, which OneRoster does not allow.",
        "Find the field in the SIS, often a title or an address, and remove the line break; or have the export strip "
        "them.",
        effect="row",
    ),
    Rule(
        "OR-CSV-045", "error",
        "A row has more or fewer cells than the header.",
        "Too many: put names and lists that hold commas in quotation marks. Too few: keep empty cells at the end of "
        "the row.",
        effect="row",
    ),
    Rule(
        "OR-CSV-046", "fatal",
        "The cells are not separated by commas.",
        "Set the export's delimiter to comma; semicolons often come from a spreadsheet with European settings.",
        effect="package",
    ),
    Rule(
        "OR-CSV-047", "info",
        "The lines do not end as the standard asks (CR LF).",
        "Nothing urgent: they were read where they were clear. Choose Windows line ends in the export if you can.",
    ),
    Rule(
        "OR-CSV-048", "warning",
        "The file contains empty rows; they were skipped.",
        "Nothing urgent. They are usually left by a spreadsheet: delete them, or export straight from the SIS.",
    ),
    Rule(
        "OR-CSV-049", "error",
        "The file has a header but no rows.",
        "If there is nothing to send, leave the file out and call it absent in the manifest. If rows are missing, "
        "check the export.",
        effect="table",
    ),
    Rule(
        "OR-CSV-050", "error",
        "The file is empty or has no header.",
        "Run the export again and look at its log; leave the file out and call it absent if there is nothing to send.",
        effect="package",
    ),
    Rule(
        "OR-CSV-051", "warning",
        "A cell contains invisible or damaged characters.",
        "Retype the value in the SIS; such characters come with text that was copied from a web page or a document.",
    ),
    Rule(
        "OR-CSV-052", "warning",
        "A value has blanks before or after it, or consists of blanks only.",
        "Remove the blanks in the SIS, or have the export trim its values and leave empty cells really empty.",
    ),
    Rule(
        "OR-CSV-053", "warning",
        'A cell holds a word for "nothing", such as NULL or N/A, or a spreadsheet error.',
        "Have the export leave the cell empty where there is no value.",
    ),
    Rule(
        "OR-CSV-054", "warning",
        "Text looks garbled, as if accents had been converted wrongly before.",
        "Correct the names in the SIS, or check the import or the interface that wrote them there; then export again.",
    ),
    Rule(
        "OR-CSV-055", "warning",
        "A text is longer than 255 characters and may be cut by some programs.",
        "Shorten it in the SIS where you can.",
    ),
    Rule(
        "OR-CSV-056", "warning",
        "A cell starts with a character that a spreadsheet would take for a formula.",
        "Check that the value is right; if it is, nothing needs to be done.",
    ),
)  # fmt: skip

HEADER = (
    Rule(
        "OR-CSV-060", "fatal",
        "The first row of the file is not the header that this file should have.",
        "Switch the header row on in the export, and check that this is a OneRoster file, not another format of the "
        "same name.",
        effect="package",
    ),
    Rule(
        "OR-CSV-061", "error",
        "A column name is spelled differently from the standard, for example in its capital letters.",
        "Correct the name in the export's settings, exactly as in our template.",
    ),
    Rule(
        "OR-CSV-062", "error",
        "The columns are not in the order of the standard.",
        "Put them in the order of our template. We read them by name, but other programs do not.",
    ),
    Rule(
        "OR-CSV-063", "error",
        "A column of the standard is missing.",
        "Add the column, even if its cells stay empty: every column of the standard has to be there.",
    ),
    Rule(
        "OR-CSV-064", "error",
        "A column name occurs twice.",
        "Delete or rename one of the two columns in the export, so that it is clear which one counts.",
    ),
    Rule(
        "OR-CSV-065", "error",
        "A column has no name, often because of commas at the end of the header.",
        "Delete the empty column or the commas at the end of the rows.",
    ),
    Rule(
        "OR-CSV-066", "error",
        'A column that is not part of the standard lacks the prefix "metadata.".',
        "Rename it to metadata. and a name, or take it out of the export.",
    ),
    Rule(
        "OR-CSV-067", "error",
        "A metadata column stands before or between the columns of the standard.",
        "Move all metadata columns to the end of the file.",
    ),
    Rule(
        "OR-CSV-068", "warning",
        "The file has a private column of an older arrangement; it was put aside.",
        "Rename it to metadata. and a name if we are to use it, or take it out of the export.",
    ),
    Rule(
        "OR-CSV-069", "warning",
        "A column name has blanks, quotation marks or invisible characters around it.",
        "Retype the header in a text editor, or copy it from our template.",
    ),
    Rule(
        "OR-CSV-070", "error",
        "A column bears the name that it had in OneRoster 1.0.",
        "Set the export to OneRoster 1.1 or 1.2, or rename the column.",
    ),
    Rule(
        "OR-CSV-071", "error",
        "A column name looks like a misspelling of one in the standard.",
        "Correct the spelling in the export's settings. Until then the column does not count.",
    ),
    Rule(
        "OR-CSV-072", "warning",
        "users.csv has the column resourceSourcedIds, which only the first edition of OneRoster 1.2 had.",
        "Nothing urgent: it is skipped. An update of your SIS's export to 1.2.1 will remove it.",
        versions=("1.2",),
    ),
)  # fmt: skip

MODE = (
    Rule(
        "OR-CSV-080", "error",
        "status is filled in a file that holds everything.",
        "Leave status empty in full exports, or set the file to delta if it only holds changes.",
    ),
    Rule(
        "OR-CSV-081", "error",
        "dateLastModified is filled in a file that holds everything.",
        "Leave dateLastModified empty in full exports, or set the file to delta if it only holds changes.",
    ),
    Rule(
        "OR-CSV-082", "error",
        "status is empty in a file that holds only changes.",
        "Have the export write active or tobedeleted in every row of a delta file.",
    ),
    Rule(
        "OR-CSV-083", "error",
        "dateLastModified is empty in a file that holds only changes.",
        "Have the export write the time of the change in every row of a delta file.",
    ),
    Rule(
        "OR-CSV-084", "error",
        "A row has only one of status and dateLastModified.",
        "Fill both in a file of changes, or leave both empty in a full file.",
    ),
    Rule(
        "OR-CSV-085", "error",
        "The file mixes rows of a full export with rows of changes.",
        "Send either everything, with status and dateLastModified empty, or only changes, with both filled in every "
        "row.",
    ),
    Rule(
        "OR-CSV-086", "error",
        "status is neither active nor tobedeleted.",
        "Use active, or tobedeleted for records that are to go. The old word inactive is read as tobedeleted.",
        effect="row",
    ),
    Rule(
        "OR-CSV-087", "warning",
        "A change deletes a record that we do not have.",
        "Nothing urgent. If this happens often, send one full export so that both sides agree again.",
    ),
    Rule(
        "OR-CSV-088", "warning",
        "A change carries a date in the future, or an older one than the change that we already have.",
        "Check the clock and the order of the exports; a full export puts things right.",
    ),
    Rule(
        "OR-CSV-089", "error",
        "A file of changes names the same record twice, so it is unclear which row counts.",
        "Have the export write one row for each record: its latest state.",
        effect="row",
    ),
    Rule(
        "OR-CSV-090", "warning",
        "A change deletes a record that others still need.",
        "Delete or move the records that depend on it in the same delivery, or keep it.",
    ),
    Rule(
        "OR-CSV-091", "info",
        "A change refers to records from an earlier delivery; we looked them up.",
        "Nothing to do: in a delivery of changes that is normal.",
    ),
    Rule(
        "OR-CSV-092", "warning",
        "The set holds only changes, but this product loads full sets.",
        "Switch the export to full sets (bulk), with status and dateLastModified left empty.",
    ),
)  # fmt: skip

CELLS = (
    Rule(
        "OR-CSV-100", "error",
        "A cell is empty that must be filled.",
        "Fill the field in the SIS, or check that the export takes this column from the right field.",
        effect="row",
    ),
    Rule(
        "OR-CSV-101", "error",
        "An id contains characters that OneRoster does not allow.",
        "Use only letters, digits and . - _ / @ in ids; blanks, # and accents often come from ids put together out of "
        "names.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-102", "error",
        "An id is longer than 255 characters.",
        "Have the export use the SIS's own short key as the id.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-103", "error",
        "A date is not a real date written as year-month-day.",
        "Set the export's date format to YYYY-MM-DD, for example 2025-09-01, and correct impossible dates in the SIS.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-104", "error",
        "dateLastModified is not written as a date and time in UTC.",
        "Use the form 2025-09-01T06:30:00.000Z: a T between date and time, milliseconds, and a Z at the end.",
        effect="value",
    ),
    Rule(
        "OR-CSV-105", "error",
        "schoolYear is not one year of four digits.",
        "Write the year in which the school year ends, for example 2026 for 2025-2026.",
        effect="row",
    ),
    Rule(
        "OR-CSV-106", "error",
        "A yes/no cell holds something else than the words true or false in small letters.",
        "Write true or false. TRUE in capitals comes from a spreadsheet: export straight from the SIS instead.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-107", "error",
        "A weight is not a whole number from 0 to 100.",
        "Write the number alone, without a percent sign or decimals.",
        versions=("1.2",), effect="value",
    ),
    Rule(
        "OR-CSV-108", "error",
        "A score or limit is not a plain number.",
        "Write digits with a decimal point, such as 87.5, without units, percent signs or thousands separators.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-109", "error",
        "A list in a cell is not written as a comma-separated list.",
        "Separate the items by commas only, without brackets, semicolons or empty items, and put the cell in quotation "
        "marks.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-110", "warning",
        "A list has blanks after its commas; they were ignored.",
        "Nothing urgent: have the export write the items without blanks if you can.",
    ),
    Rule(
        "OR-CSV-111", "warning",
        "A list names the same item twice.",
        "Remove the repetition in the SIS if it is not meant.",
    ),
    Rule(
        "OR-CSV-112", "error",
        "A userIds cell is not written as {type:id}.",
        "Write each id as {type:id}, for example {LDAP:jdoe}, several of them separated by commas.",
        effect="value",
    ),
    Rule(
        "OR-CSV-113", "error",
        "A score scale is not written as pairs such as {A+:100}.",
        "Write each step of the scale as {left:right}, several of them separated by commas.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-114", "error",
        "A learning objective from CASE does not have a CASE id.",
        "Write it as urn:uuid: followed by the id, or set source to unknown.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-115", "warning",
        "Values look as if a spreadsheet had changed them: lost zeros, 1.23E+12, or dates turned into numbers.",
        "Export again straight from the SIS and do not open the files in a spreadsheet before sending.",
    ),
    Rule(
        "OR-CSV-116", "error",
        "A session does not end after it starts.",
        "Correct the dates in the SIS. endDate is the first day after the session, so it cannot equal startDate.",
        effect="row",
    ),
    Rule(
        "OR-CSV-117", "error",
        "An enrollment or a role ends before it begins, or on the same day.",
        "Correct beginDate or endDate in the SIS. endDate is the first day on which it no longer holds.",
        effect="value",
    ),
    Rule(
        "OR-CSV-118", "warning",
        "An email address or telephone number does not look like one.",
        "Check the person's entry in the SIS; leave the cell empty if there is none.",
    ),
    Rule(
        "OR-CSV-119", "warning",
        "A date is hard to believe, such as a birth date in the future or a session many years away.",
        "Check the year in the SIS; two-digit years are a frequent cause.",
    ),
)  # fmt: skip

VOCABULARIES = (
    Rule(
        "OR-CSV-130", "error",
        "A session's type is not a word of the standard.",
        "Use gradingPeriod, semester, schoolYear or term, with these capital letters.",
        effect="row",
    ),
    Rule(
        "OR-CSV-131", "error",
        "A class's type is not a word of the standard.",
        "Use homeroom or scheduled, in small letters.",
        effect="row",
    ),
    Rule(
        "OR-CSV-132", "error",
        "An organization's type is not a word of the standard.",
        "Use department, school, district, local, state or national.",
        effect="row",
    ),
    Rule(
        "OR-CSV-133", "error",
        "A person's role is not a word of the standard.",
        "Use administrator, aide, guardian, parent, proctor, relative, student or teacher; map your SIS's staff types "
        "to these.",
        versions=("1.1",), effect="row",
    ),
    Rule(
        "OR-CSV-134", "error",
        "A person's role in a class is not a word of the standard.",
        "Use student, teacher, administrator or proctor. Map other words, such as aide, to one of these, or leave "
        "those rows out.",
        effect="row",
    ),
    Rule(
        "OR-CSV-135", "error",
        "A role or role type in roles.csv is not a word of the standard.",
        "Use the role words of OneRoster 1.2, such as student or districtAdministrator, and primary or secondary as "
        "roleType.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-136", "error",
        "A sex is not a word of the standard.",
        "Use male or female, in 1.2 also other or unspecified; write M and F out.",
        effect="value",
    ),
    Rule(
        "OR-CSV-137", "error",
        "A resource has a role or an importance that is not a word of the standard.",
        "Use the role words of the standard, and primary or secondary for importance.",
        effect="value",
    ),
    Rule(
        "OR-CSV-138", "error",
        "A result's scoreStatus is not a word of the standard.",
        "Use exempt, fully graded, not submitted, partially graded or submitted.",
        effect="row",
    ),
    Rule(
        "OR-CSV-139", "error",
        "A learning objective's source is not a word of the standard.",
        "Use case or unknown.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-140", "error",
        "A word of your own (ext:...) was used, but OneRoster 1.1 does not allow any.",
        "Use the nearest word of the standard, or send the set as OneRoster 1.2.",
        versions=("1.1",), effect="cell",
    ),
    Rule(
        "OR-CSV-141", "error",
        'A word of your own was used where it is not allowed, or without the prefix "ext:".',
        "Use a word of the standard. Where 1.2 allows your own, start it with ext:.",
        versions=("1.2",), effect="cell",
    ),
    Rule(
        "OR-CSV-142", "warning",
        "A word is right except for its capital letters or the blanks around it; it was understood.",
        "Write it exactly as the standard does, for example scheduled instead of Scheduled.",
    ),
    Rule(
        "OR-CSV-143", "error",
        "A grade is not one of the codes of OneRoster 1.1 (KG, 01 to 12 and a few more).",
        "Map your grades to these codes in the export, for example KG for K and 09 for 9; or ask us to translate them "
        "for you.",
        versions=("1.1",), effect="value",
    ),
    Rule(
        "OR-CSV-144", "warning",
        "A grade is not one of the codes that are usual in the USA (KG, 01 to 12 and a few more).",
        "Tell us what this grade means, or map it in the export.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-145", "warning",
        "A subject code is not a SCED code, or its subject title contains a comma.",
        "Use five-digit SCED codes with their titles if you can; nothing depends on it here.",
    ),
    Rule(
        "OR-CSV-146", "warning",
        "A birth country, state of birth or residence status is not one of the CEDS codes.",
        "Use the two-letter codes for country and state and the CEDS words for the residence status, or leave the cell "
        "empty.",
        versions=("1.1",),
    ),
)  # fmt: skip

IDENTITY = (
    Rule(
        "OR-CSV-160", "error",
        "The same sourcedId is used for different records in one file.",
        "Find out in the SIS which record owns the id; every record needs one of its own that no other has.",
        effect="row",
    ),
    Rule(
        "OR-CSV-161", "warning",
        "Two ids differ only in capital letters or blanks and may be taken for one.",
        "Give one of the two records another id, or remove it if it is a leftover.",
    ),
    Rule(
        "OR-CSV-162", "warning",
        "A row occurs more than once, exactly the same; it counts once.",
        "Nothing urgent: have the export leave repeated rows out.",
    ),
    Rule(
        "OR-CSV-163", "error",
        "A session names a parent session that is not in academicSessions.csv.",
        "Include the parent session in the export, or leave parentSourcedId empty.",
        effect="value",
    ),
    Rule(
        "OR-CSV-164", "error",
        "An organization names a parent that is not in orgs.csv.",
        "Include the parent, usually the district, in the export, or leave parentSourcedId empty.",
        effect="value",
    ),
    Rule(
        "OR-CSV-165", "error",
        "A course names a school year that is not in academicSessions.csv.",
        "Include that school year in the export of sessions, or leave schoolYearSourcedId empty.",
        effect="value",
    ),
    Rule(
        "OR-CSV-166", "error",
        "A course names an organization that is not in orgs.csv.",
        "Include the school or district in orgs.csv, or correct the course in the SIS.",
        effect="row",
    ),
    Rule(
        "OR-CSV-167", "error",
        "A class names a course that is not in courses.csv.",
        "Include the course in the export: inactive courses are often filtered out although classes still use them.",
        effect="row",
    ),
    Rule(
        "OR-CSV-168", "error",
        "A class names a school that is not in orgs.csv.",
        "Include the school in orgs.csv, or leave the classes of schools that do not take part out of the export.",
        effect="row",
    ),
    Rule(
        "OR-CSV-169", "error",
        "A class names a term that is not in academicSessions.csv.",
        "Include all terms in which classes run in the export, also those of the coming semester.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-170", "error",
        "A person belongs to a school that is not in orgs.csv.",
        "Include the school in orgs.csv, or correct the person's schools in the SIS.",
        versions=("1.1",), effect="cell",
    ),
    Rule(
        "OR-CSV-171", "error",
        "A person's parent, guardian or other contact is not in users.csv.",
        "Include the contacts in the export, or leave agentSourcedIds empty.",
        effect="value",
    ),
    Rule(
        "OR-CSV-172", "error",
        "An enrollment names a class that is not in classes.csv.",
        "Use the same filters for classes and enrollments in the export, so that no enrollment is left without its "
        "class.",
        effect="row",
    ),
    Rule(
        "OR-CSV-173", "error",
        "An enrollment names a school that is not in orgs.csv.",
        "Include the school in orgs.csv, or leave its enrollments out of the export.",
        effect="row",
    ),
    Rule(
        "OR-CSV-174", "error",
        "An enrollment names a person who is not in users.csv.",
        "Use the same filters for users and enrollments in the export; people who have left are the usual cause.",
        effect="row",
    ),
    Rule(
        "OR-CSV-175", "error",
        "Demographics are given for a person who is not in users.csv.",
        "Use the same filters for users and demographics in the export.",
        effect="row",
    ),
    Rule(
        "OR-CSV-176", "error",
        "A resource is assigned to a class, course, person, organization or resource that is not in the set.",
        "Include what is missing in the export, or leave the assignment out.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-177", "error",
        "A line item names a class, category, session or school that is not in the set.",
        "Include what is missing in the export, or leave the line item out.",
        effect="row",
    ),
    Rule(
        "OR-CSV-178", "error",
        "A result names a line item, student or class that is not in the set.",
        "Include what is missing in the export, or leave the result out.",
        effect="cell",
    ),
    Rule(
        "OR-CSV-179", "error",
        "A role names a person, organization or profile that is not in the set.",
        "Include what is missing: use the same filters for users, orgs and roles in the export.",
        versions=("1.2",), effect="cell",
    ),
    Rule(
        "OR-CSV-180", "error",
        "A person's main school is not in orgs.csv.",
        "Include the school in orgs.csv, or leave primaryOrgSourcedId empty.",
        versions=("1.2",), effect="value",
    ),
    Rule(
        "OR-CSV-181", "error",
        "A profile belongs to a person who is not in users.csv.",
        "Use the same filters for users and userProfiles in the export.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-182", "error",
        "A score scale names an organization, course or class that is not in the set.",
        "Include what is missing in the export, or leave the score scale out.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-183", "error",
        "A gradebook row refers to a line item, result or score scale that is not in the set.",
        "Include what is missing in the export, or leave the row out.",
        versions=("1.2",), effect="row",
    ),
    Rule(
        "OR-CSV-184", "warning",
        "An id matches its target only after blanks or capital letters are ignored.",
        "Have the export write the id in exactly the same way in both files.",
    ),
    Rule(
        "OR-CSV-185", "error",
        "Rows refer to a file that was not sent, or cannot be used.",
        "Include that file in the export, so that its records can be found.",
        effect="package",
    ),
)  # fmt: skip

ROSTERING = (
    Rule(
        "OR-CSV-200", "error",
        "An organization is its own parent, directly or by way of others.",
        "Correct the parents of these organizations in the SIS; the one at the top has none.",
        effect="value",
    ),
    Rule(
        "OR-CSV-201", "warning",
        "An organization stands above one that should be higher than itself.",
        "Check the types and parents: state, then district, then school, with departments below.",
    ),
    Rule(
        "OR-CSV-202", "warning",
        "There is no school, or a school that belongs to no district.",
        "Include every school with type school, and the district as its parent.",
    ),
    Rule(
        "OR-CSV-203", "error",
        "A session is its own parent, directly or by way of others.",
        "Correct the parents of these sessions in the SIS; the school year at the top has none.",
        effect="value",
    ),
    Rule(
        "OR-CSV-204", "warning",
        "A session reaches beyond the dates of the session above it.",
        "Compare the dates of the term with those of its school year in the SIS.",
    ),
    Rule(
        "OR-CSV-205", "warning",
        "A session stands above one that should be longer than itself.",
        "Check types and parents: school year, then semester or term, then grading period.",
    ),
    Rule(
        "OR-CSV-206", "warning",
        "schoolYear is not the year in which the school year ends.",
        "Write the closing year: 2026 for 2025-2026, the same for the year and all its terms.",
    ),
    Rule(
        "OR-CSV-207", "error",
        "A course names a session that is not a school year.",
        "Point schoolYearSourcedId to the session of type schoolYear, or leave it empty.",
        effect="value",
    ),
    Rule(
        "OR-CSV-208", "error",
        "A class belongs to an organization that is not a school.",
        "Point the class to its school. If the organization is a school, correct its type in orgs.csv.",
        effect="row",
    ),
    Rule(
        "OR-CSV-209", "error",
        "A class lacks its term, its course or its school.",
        "Complete the class in the SIS: it needs one course, one school and at least one term.",
        effect="row",
    ),
    Rule(
        "OR-CSV-210", "warning",
        "A class runs for a whole school year session instead of terms.",
        "Nothing urgent here, but name the terms if you can: other receivers leave such classes out.",
    ),
    Rule(
        "OR-CSV-211", "warning",
        "A class's course belongs to another school.",
        "Check the course in the SIS, or list courses under the district.",
    ),
    Rule(
        "OR-CSV-212", "error",
        "A row does not have as many subjects as subject codes.",
        "Give one code for each subject, or leave one of the two cells empty.",
        effect="value",
    ),
    Rule(
        "OR-CSV-213", "warning",
        "Only one of subjects and subjectCodes is filled.",
        "Fill both or neither if you can; nothing depends on it here.",
    ),
    Rule(
        "OR-CSV-214", "error",
        "An enrollment belongs to an organization that is not a school.",
        "Point the enrollment to the class's school. If the organization is a school, correct its type in orgs.csv.",
        effect="row",
    ),
    Rule(
        "OR-CSV-215", "warning",
        "An enrollment names another school than its class does.",
        "Use the class's school in both places; check shared classes in the SIS.",
    ),
    Rule(
        "OR-CSV-216", "warning",
        "Someone is enrolled at a school to which they do not belong.",
        "Add the school to the person's entry in the SIS, or correct the enrollment.",
    ),
    Rule(
        "OR-CSV-217", "warning",
        "Someone's role in a class does not fit the role they have otherwise, such as a student who teaches.",
        "Check the person's role in the SIS. If they really have both, nothing needs to be done.",
    ),
    Rule(
        "OR-CSV-218", "error",
        "Someone who is not a teacher is marked as the primary teacher.",
        "Set primary to true only for teachers; leave it false or empty for everybody else.",
        effect="value",
    ),
    Rule(
        "OR-CSV-219", "warning",
        "A class has more than one primary teacher at a time, or several teachers and none that is primary.",
        "Mark one teacher of the class as primary in the SIS.",
    ),
    Rule(
        "OR-CSV-220", "warning",
        "Someone is in the same class in the same role twice at the same time.",
        "Remove the double enrollment in the SIS, or correct its dates.",
    ),
    Rule(
        "OR-CSV-221", "warning",
        "An enrollment begins or ends outside the terms of its class.",
        "Check the enrollment's dates and the class's terms in the SIS.",
    ),
    Rule(
        "OR-CSV-222", "warning",
        "A class has no teacher or no students.",
        "Complete the class in the SIS, or leave it out of the export if it is not taught.",
    ),
    Rule(
        "OR-CSV-223", "error",
        "A person belongs to no school or district.",
        "Assign the person to at least one school in the SIS, or leave them out of the export.",
        versions=("1.1",), effect="row",
    ),
    Rule(
        "OR-CSV-224", "warning",
        "A person is listed as their own contact, or a student's contact is not a parent, guardian or relative.",
        "Check the contacts and their roles in the SIS.",
    ),
    Rule(
        "OR-CSV-225", "warning",
        "Several records share one username.",
        "Give each person a username of their own. The same person with several roles may keep one: then nothing needs "
        "to be done.",
    ),
    Rule(
        "OR-CSV-226", "warning",
        "Several people share one email address or identifier.",
        "Correct the entries in the SIS; leave the cell empty rather than fill in a family's or the school's address.",
    ),
    Rule(
        "OR-CSV-227", "error",
        "A person has no role.",
        "Include a row in roles.csv for each person and each school they belong to.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-228", "error",
        "A person has several primary roles at one school.",
        "Keep one role as primary and make the others secondary.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-229", "warning",
        "A person's main school is one where they have no role.",
        "Add the role for that school, or correct primaryOrgSourcedId.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-230", "error",
        "A role uses the profile of another person.",
        "Point userProfileSourcedId to the person's own profile, or leave it empty.",
        versions=("1.2",), effect="value",
    ),
    Rule(
        "OR-CSV-231", "warning",
        "Several people share one userMasterIdentifier.",
        "Check in the SIS whether they are the same person; otherwise correct the identifier.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-232", "warning",
        '"Two or more races" does not fit the single races that are marked.',
        "Check the person's entry in the SIS: it should be true only when at least two races are.",
    ),
    Rule(
        "OR-CSV-233", "warning",
        "Records that nothing else uses, such as a course without classes or a person without enrollments.",
        "Nothing to do if that is meant. Otherwise check the export's filters.",
    ),
    Rule(
        "OR-CSV-234", "warning",
        "A person's account is switched off although they are enrolled in classes.",
        "Set enabledUser to true, or end the enrollments in the SIS.",
    ),
)  # fmt: skip

GRADEBOOK = (
    Rule(
        "OR-CSV-240", "error",
        "A line item's lowest score is above its highest.",
        "Swap or correct resultValueMin and resultValueMax.",
    ),
    Rule(
        "OR-CSV-241", "error",
        "A score lies outside the limits of its line item.",
        "Correct the score, or the limits of the line item.",
    ),
    Rule(
        "OR-CSV-242", "error",
        "A result names another class than its line item does.",
        "Use the line item's class, or leave classSourcedId empty.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-243", "warning",
        "A result belongs to someone who is not a student of the class.",
        "Check the enrollment in the SIS, or leave the result out.",
    ),
    Rule(
        "OR-CSV-244", "warning",
        "A line item belongs to the wrong kind of session.",
        "Point it to a grading period; in 1.2 at least not to a whole school year.",
    ),
    Rule(
        "OR-CSV-245", "error",
        "A line item belongs to an organization that is not a school.",
        "Point schoolSourcedId to the class's school.",
        versions=("1.2",),
    ),
    Rule(
        "OR-CSV-246", "warning",
        "A line item is due before it is assigned.",
        "Correct assignDate or dueDate.",
    ),
    Rule(
        "OR-CSV-247", "warning",
        "A resource is assigned to someone to whom the class, school or role does not fit.",
        "Check the assignment in the SIS.",
        versions=("1.2",),
    ),
)  # fmt: skip

PRACTICE = (
    Rule(
        "OR-CSV-260", "warning",
        "Many ids are new although the names are known: the ids seem to change with time.",
        "Have the export use the SIS's permanent keys, not ids made of room, teacher, grade or year. Talk to us before "
        "ids change.",
    ),
    Rule(
        "OR-CSV-261", "info",
        "Ids have changed and no list of old and new ids is known.",
        "Send us a list with two columns, old id and new id, so that people keep their work.",
    ),
    Rule(
        "OR-CSV-262", "warning",
        "The same course is listed several times, once for each school or section.",
        "List a course once, with the district as its organization; classes are its sections.",
    ),
    Rule(
        "OR-CSV-263", "info",
        "There are nearly as many courses as classes.",
        "Check that the export does not write one course for every section.",
    ),
    Rule(
        "OR-CSV-264", "warning",
        "A student has no grade.",
        "Fill the grade in the SIS: most products need it to choose the right content.",
    ),
    Rule(
        "OR-CSV-265", "info",
        "Usernames do not look like the names with which people sign in.",
        "Have the export take the username from your sign-on system, for example Active Directory or Google.",
    ),
    Rule(
        "OR-CSV-266", "info",
        "A school does not carry its NCES number.",
        "Put the NCES school number into identifier if you have it.",
    ),
    Rule(
        "OR-CSV-267", "info",
        "Enrollment ids do not look unique over the whole set.",
        "Use the SIS's own key, or put together the ids of the person and the class.",
    ),
    Rule(
        "OR-CSV-268", "warning",
        "No term that classes use covers today, or classes run only in terms still to come.",
        "Check which terms the export includes. Before the year starts, nothing needs to be done.",
    ),
    Rule(
        "OR-CSV-269", "info",
        "People belong to several schools, in one record or with one record for each school.",
        "Nothing to do: both are understood. Tell us if the same person should be one account.",
    ),
    Rule(
        "OR-CSV-270", "info",
        "People with several roles have several records with the same username.",
        "Nothing to do: this is how OneRoster 1.1 says it.",
        versions=("1.1",),
    ),
    Rule(
        "OR-CSV-271", "info",
        "Classes are of the types homeroom and scheduled; some products load only one of them.",
        "Use homeroom for the form group and scheduled for lessons, and tell us which ones take part.",
    ),
    Rule(
        "OR-CSV-272", "info",
        "A class is unusually small or large.",
        "Check whether it is a real class; leave lunch, study hall and test classes out of the export.",
    ),
    Rule(
        "OR-CSV-273", "warning",
        "Passwords are filled in.",
        "Leave passwords out unless the product asks for them: they are dropped and never shown here.",
    ),
    Rule(
        "OR-CSV-274", "info",
        "A metadata column does not say whose it is.",
        "Name such columns metadata.owner.name, for example metadata.jp.kanaGivenName.",
    ),
    Rule(
        "OR-CSV-275", "info",
        "Not every column of the standard is there, or not in its order.",
        "Send all columns in the order of our template, even if some stay empty.",
    ),
)  # fmt: skip

COMPARISON = (
    Rule(
        "OR-CSV-300", "info",
        "The content is the same as in the last delivery.",
        "Nothing to do. If you expected changes, check that the export really ran again.",
    ),
    Rule(
        "OR-CSV-301", "warning",
        "An unusually large part of the records is missing compared with the last delivery.",
        "Check the export's filters. If the records are really to go, tell us, and we will let the delivery through.",
    ),
    Rule(
        "OR-CSV-302", "warning",
        "Many people have new ids but the same names, usernames or email addresses.",
        "Find out whether the ids changed in the SIS and talk to us before the next delivery.",
    ),
    Rule(
        "OR-CSV-303", "warning",
        "A file that used to come is absent.",
        "Switch it on again in the export if that was not meant. What we have of it stays.",
    ),
    Rule(
        "OR-CSV-304", "info",
        "The school year has changed.",
        "Nothing to do if the new year has begun; expect us to check the large changes with you.",
    ),
    Rule(
        "OR-CSV-305", "warning",
        "The data are older than those of the last delivery.",
        "Check which file the export job sends; send the newest one.",
    ),
)  # fmt: skip

KEPT_IDS = (
    Rule(
        "OR-ID-001", "error",
        "A record comes under the former id of another one, which comes as well.",
        "If they are the same, leave out the one with the old id. If the id was given to somebody else, give them a "
        "new one: products still know its first owner by it.",
        effect="row",
    ),
)  # fmt: skip

COLUMN_NAMES = (
    Rule(
        "OR-NAME-001", "info",
        "A column is read under another name, as the settings of this district say.",
        "Nothing to do. Better still, call it in the export as the standard does.",
    ),
)  # fmt: skip

SCOPE = (
    Rule(
        "OR-SCOPE-001", "info",
        "A row is about a school or term that this delivery does not speak for; it was not used.",
        "Nothing to do if these schools and terms are sent in another way. Otherwise send the file as one about all "
        "of the district.",
    ),
    Rule(
        "OR-SCOPE-002", "fatal",
        "No row is about the schools and terms that this delivery speaks for.",
        "Look whether it is the right file, and whether it was sent for the right schools.",
        effect="package",
    ),
)  # fmt: skip

PRODUCT = (
    Rule(
        "PR-001", "error",
        "A file that this product needs is missing.",
        "Switch the file on in the export; this product cannot be set up without it.",
        effect="package",
    ),
    Rule(
        "PR-002", "error",
        "This product does not take this version of OneRoster.",
        "Set the export to a version that the product takes, or ask us to convert the set.",
    ),
    Rule(
        "PR-003", "info",
        "The product does not read this file.",
        "Nothing to do. You may leave the file out and call it absent in the manifest.",
    ),
    Rule(
        "PR-010", "error",
        "A value is empty that this product needs.",
        "Fill the field in the SIS for the people concerned: without it they cannot use the product.",
    ),
    Rule(
        "PR-011", "warning",
        "A value is written in a way that this product does not accept.",
        "Change the value in the SIS, for example to letters and digits only.",
    ),
    Rule(
        "PR-012", "warning",
        "A value occurs more than once where this product needs it to be unique.",
        "Give each person, class or school a value of its own in the SIS.",
    ),
    Rule(
        "PR-013", "warning",
        "A value is shorter than this product allows.",
        "Choose a longer value, or leave the cell empty if the product can generate one.",
    ),
    Rule(
        "PR-014", "warning",
        "A grade has no counterpart in this product.",
        "Decide with us how to load these students: another grade, a default, or not at all.",
    ),
    Rule(
        "PR-015", "warning",
        "A student has several grades where this product takes one.",
        "Keep the student's present grade only, in the SIS or in the export.",
    ),
    Rule(
        "PR-016", "info",
        "People with this role are not loaded into this product.",
        "Nothing to do. Leave them out of the export if you like.",
    ),
    Rule(
        "PR-020", "error",
        "The header does not follow the order or the capital letters of the standard, which this product insists on.",
        "Put the columns in the order of our template, with exactly these names.",
    ),
)  # fmt: skip

PULLS = (
    Rule(
        "OR-REST-001", "fatal",
        "A part of the pull is missing, or it holds something else than pull.json says.",
        "Pull again. If it happens once more, the server broke off or its data moved: tell the SIS's support when.",
        effect="package",
    ),
    Rule(
        "OR-REST-002", "fatal",
        "pull.json does not say in words that we know what was pulled.",
        "Pull again. A zip of CSV files must not hold a file of this name.",
        effect="package",
    ),
    Rule(
        "OR-REST-003", "fatal",
        "A page is not a list of records as a OneRoster server sends it.",
        "Ask the SIS's support what the server answers there; it may be a notice of maintenance or a login page.",
        effect="package",
    ),
    Rule(
        "OR-REST-004", "warning",
        "A record came twice with different content, because it changed during the pull; the later one counts.",
        "Nothing to do if it is rare. Otherwise pull at night, when nobody works in the SIS.",
    ),
    Rule(
        "OR-REST-005", "error",
        "An entry in the list of records is not a record.",
        "Show the place to the SIS's support: every entry of that list must be an object with a sourcedId.",
        effect="row",
    ),
    Rule(
        "OR-REST-006", "warning",
        "A value is of another kind than OneRoster has in this place; it was taken as the text that was sent.",
        "Show the place to the SIS's support; the value counts only where the text makes sense by itself.",
    ),
    Rule(
        "OR-REST-007", "warning",
        "An item of a list holds a comma, so it is read as several items.",
        "Write it without a comma in the SIS: the lists of a roster are kept with commas between the items.",
    ),
    Rule(
        "OR-REST-008", "warning",
        "The server answered without a single record of this kind; it counts as not sent.",
        "Nothing to do if there is none. Otherwise check what our account at the server may read; nobody was removed.",
    ),
    Rule(
        "OR-REST-009", "info",
        "The server sends a field that OneRoster does not have; it was not read.",
        "Nothing to do. What you want us to have belongs into the metadata of the record.",
    ),
    Rule(
        "OR-REST-010", "info",
        "Records that the server marks as deleted were left out.",
        "Nothing to do: whoever the server marks as deleted is not part of the roster.",
    ),
    Rule(
        "OR-REST-011", "info",
        "A class has no type; it was taken as a scheduled class.",
        "Nothing to do, unless these are homerooms: then give them their type in the SIS.",
    ),
    Rule(
        "OR-REST-012", "info",
        "A login profile has no credentials; it was left out.",
        "Nothing to do, unless the profile is used to sign in: then complete it in the SIS.",
    ),
)  # fmt: skip

#: Every rule by its code, in the order in which they are checked.
RULES: Mapping[str, Rule] = {
    rule.code: rule
    for group in (
        PACKAGE,
        MANIFEST,
        SYNTAX,
        HEADER,
        MODE,
        CELLS,
        VOCABULARIES,
        IDENTITY,
        ROSTERING,
        GRADEBOOK,
        PRACTICE,
        COMPARISON,
        KEPT_IDS,
        COLUMN_NAMES,
        SCOPE,
        PRODUCT,
        PULLS,
    )
    for rule in group
}

#: Required values, unique ids, required references and the files that hold them, and whole pulls: without these rules
#: records could not be told apart or written, so no district may lower them.
STANDS_ON = frozenset(
    f"OR-CSV-{n}"
    for n in ("015", "089", "100", "160", "166", "167", "168", "172", "173", "174", "175", "179", "181", "185")
) | {"OR-ID-001", "OR-SCOPE-002", "OR-REST-001", "OR-REST-002", "OR-REST-003", "OR-REST-005"}
